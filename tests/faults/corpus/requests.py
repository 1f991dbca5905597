"""Headers, paths, methods and JSON that are wrong, on every route."""

import json
from collections.abc import Iterator
from dataclasses import replace

from tests.faults.corpus.case import Case, box_part, form, form_headers, image_part, photo, saved

FORM = form(image_part(saved(photo(30))), box_part())
GOOD = Case("", 200, body=FORM, headers=form_headers())


def request_cases() -> Iterator[Case]:
    yield from headers()
    yield from methods()
    yield from paths()
    yield from samples()
    yield from training()
    yield from models()


def headers() -> Iterator[Case]:
    def sent(name: str, status: int | tuple[int, ...], says: str = "", **more: str | bytes) -> Case:
        named = {key.replace("_", "-"): value for key, value in more.items()}
        return replace(GOOD, name=f"header: {name}", status=status, says=says, headers=form_headers() | named)

    for value in (
        "wait=-1",
        "wait=NaN",
        "wait=1e9",
        "wait=",
        "wait",
        "wait=999999999999999999999",
        "nonsense",
        "",
        ";;,,==",
        "wait=5;foo=bar, respond-sync",
        "return=minimal",
        "x" * 8000,
        'wait="5"',
    ):
        yield sent(f"Prefer: {value[:30]}", 200, Prefer=value)
    yield sent("Prefer: respond-async", 202, Prefer="respond-async")
    yield sent("Prefer: wait=0", (200, 202), Prefer="wait=0")
    for value in (
        "corpus-key",
        " ",
        "../../x",
        "ключ".encode(),
        b"\xff\xfe",
        "a" * 255,
        "a b\tc",
        "'; DROP TABLE jobs; --",
    ):
        yield sent(f"Idempotency-Key: {value[:20]!r}", (200, 400), "", Idempotency_Key=value)
    yield sent("Idempotency-Key: empty", 400, "Idempotency-Key|idempotency-key", Idempotency_Key="")
    yield sent("Idempotency-Key: 256 characters", 400, "Idempotency-Key|idempotency-key", Idempotency_Key="a" * 256)
    for value in ("0", "-1", "soon", "NaN", "1.5", "1e9", "99999999999999999999", ""):
        yield sent(f"Cancel-After: {value}", 400, "Cancel-After|cancel-after", Cancel_After=value)
    yield sent("Cancel-After: 60", 200, Cancel_After="60")
    for value in (
        "image/png",
        "*/*",
        "text/html",
        "application/json;q=0",
        "nonsense",
        "",
        "image/png;q=abc",
        "*" * 4000,
    ):
        yield sent(f"Accept: {value[:20]}", 200, Accept=value)
    yield sent("Accept-Encoding: of all kinds", 200, Accept_Encoding="gzip, br, zstd, compress, x-unknown;q=9")
    yield sent("Range", 200, Range="bytes=0-1")
    yield sent("Expect: 100-continue", 200, Expect="100-continue")
    yield sent("Authorization where there are no keys", 200, Authorization="Bearer " + "x" * 3000)
    yield sent("X-Forwarded-For: nonsense", 200, X_Forwarded_For="999.999.1.1, <script>")
    yield sent("traceparent: nonsense", 200, traceparent="00-zz-zz-zz")
    yield sent("a cookie of 8 kB", 200, Cookie="a=" + "b" * 8000)
    for value in ("nonsense", "*", '"', 'W/"x", "y"', "," * 2000, '"' + "a" * 8000 + '"', b'"\xff"'):
        yield Case(
            f"header: If-None-Match: {value[:20]!r}",
            (200, 202, 304),
            method="GET",
            path="/samples/dcgan?n=1",
            headers={"If-None-Match": value, "Prefer": "respond-async"},
        )
    yield replace(GOOD, name="header: a job to ask about", method="PUT", path="/inpaint/corpus-known")
    for value in ("nonsense", "-1", "1-2-3", "9" * 30, "0; DROP", "\u0661".encode(), ""):
        yield Case(
            f"header: Last-Event-ID: {value[:20]!r}",
            400,
            "Last-Event-ID|last-event-id",
            method="GET",
            path="/jobs/corpus-known/events",
            headers={"Last-Event-ID": value},
        )
    for value in ("0", "5-1", "18446744073709551615-18446744073709551615", "99999999999999999999"):
        yield Case(
            f"header: Last-Event-ID: {value}",
            (200, 204, 400),
            method="GET",
            path="/jobs/corpus-known/events",
            headers={"Last-Event-ID": value},
        )


def methods() -> Iterator[Case]:
    for path, allowed in (
        ("/inpaint", "POST"), ("/inpaint/corpus-method", "PUT"), ("/jobs", "GET"), ("/jobs/corpus-known", "GET"),
        ("/jobs/corpus-known/result", "GET"), ("/jobs/corpus-known/cancel", "POST"), ("/samples/dcgan", "GET"),
        ("/models", "GET"), ("/models/glcic-celeba/active", "PUT"), ("/training-runs", "GET POST"),
        ("/healthz", "GET"), ("/readyz", "GET"), ("/metrics", "GET"), ("/datasets", "GET"),
    ):  # fmt: skip
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW"):
            if method not in allowed.split():
                yield Case(f"method: {method} {path}", 405, "does not take", method=method, path=path)
        read = (200, 202) if "GET" in allowed else 405  # 202: a sample that is not drawn yet
        yield Case(f"method: HEAD {path}", read, method="HEAD", path=path, headers={"Prefer": "respond-async"})


def paths() -> Iterator[Case]:
    for path in (
        "/nowhere", "/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../app/main.py", "/app/main.py",
        "/js/../../settings.py", "/js/%2e%2e/%2e%2e/main.py", "/..%5c..%5cboot.ini", "/%00", "/index.html%00.png",
        "/.git/config", "/.env", "//etc/passwd", "/" + "a" * 7000, "/%ff%fe", "/js", "/wp-login.php", "/inpaint/a/b",
        "/INPAINT", "/jobs/x/y/z", "/\u202e".encode().decode("latin-1"),
    ):  # fmt: skip
        yield Case(f"path: GET {path[:40]!r}", (404, 405), "/docs", method="GET", path=path)
    for id in (
        "unknown",
        "..",
        "%2e%2e%2fetc",
        "a" * 64,
        "%00",
        "%ff",
        "a%0ab",
        "*",
        "{id}",
        "<script>",
        "%F0%9F%90%88",
    ):
        for tail in ("", "/result", "/events"):
            yield Case(f"path: GET /jobs/{id[:20]}{tail}", 404, "", method="GET", path=f"/jobs/{id}{tail}")
        yield Case(f"path: POST /jobs/{id[:20]}/cancel", 404, "", method="POST", path=f"/jobs/{id}/cancel")
    yield Case("path: GET /jobs of 65 characters", 404, "no job", method="GET", path="/jobs/" + "a" * 65)
    for id in ("a", "UPPER", "a.b.c", "a b c d", "%2e%2e%2e%2e", "-abc", "a" * 65, "%00abc", "ключ", "key_1"):
        yield replace(
            GOOD, name=f"path: PUT /inpaint/{id[:20]}", status=400, says="4 to 64", method="PUT", path=f"/inpaint/{id}"
        )
    for query in (
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=NaN",
        "limit=",
        "limit=1e1",
        "limit=" + "9" * 500,
        "limit=%00",
    ):
        yield Case(f"path: GET /jobs?{query[:30]}", 400, "limit", method="GET", path=f"/jobs?{query}")
    yield Case("path: GET /jobs/, which is /jobs", 307, method="GET", path="/jobs/")
    yield Case("path: GET /jobs?limit=5&limit=6", 200, method="GET", path="/jobs?limit=5&limit=6")
    yield Case("path: GET /jobs?x=1", 200, method="GET", path="/jobs?x=1&" + "&".join(f"a{n}=b" for n in range(500)))


def samples() -> Iterator[Case]:
    for query, says in (
        ("n=0", "n"), ("n=65", "n"), ("n=-1", "n"), ("n=NaN", "n"), ("n=1.5", "n"), ("n=", "n"),
        ("n=" + "1" * 5000, "n"),
        ("seed=-1", "seed"), ("seed=9223372036854775808", "seed"), ("seed=inf", "seed"), ("seed=0x1", "seed"),
        ("format=bmp", "format"), ("format=PNG", "format"), ("format=", "format"), ("columns=0", "columns"),
        ("columns=65", "columns"), ("columns=two", "columns"), ("interpolate=-1", "interpolate"),
        ("interpolate=nan", "interpolate"), ("n=1;seed=2", "n"),
    ):  # fmt: skip
        yield Case(f"samples: ?{query[:30]}", 400, says, method="GET", path=f"/samples/dcgan?{query}")
    for model in ("nobody", "..%2f..%2fetc", "dcgan@00000000", "%00", "@", "DCGAN", "модель"):
        yield Case(f"samples: /{model}", 404, "", method="GET", path=f"/samples/{model}")
    yield Case("samples: of a model that completes", 400, "POST /inpaint", method="GET", path="/samples/glcic-celeba")
    yield Case("samples: a name of 81 characters", 400, "80", method="GET", path="/samples/" + "a" * 81)


def training() -> Iterator[Case]:
    def sent(
        name: str,
        status: int | tuple[int, ...],
        says: str,
        body: bytes | dict[str, object],
        kind: str = "application/json",
    ) -> Case:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Case(f"training: {name}", status, says, content, path="/training-runs", headers={"Content-Type": kind})

    order = {"family": "dcgan", "dataset": "faces"}
    yield sent("no body", 400, "", b"")
    yield sent("no JSON", 400, "no JSON", b"family=dcgan")
    yield sent("JSON that breaks off", 400, "no JSON", b'{"family": "dcgan",')
    yield sent("JSON of bytes that are no text", 400, "", b'{"family": "\xff\xfe"}')
    yield sent("an array", 400, "", b"[1, 2]")
    yield sent("null", 400, "", b"null")
    yield sent("a number", 400, "", b"1e999")
    yield sent("60000 brackets", 400, "", b"[" * 60_000)
    yield sent("4000 objects deep", 400, "", b'{"overrides":' * 4_000 + b"1" + b"}" * 4_000)
    yield sent("5000 unknown fields", 400, "f0", {f"f{number}": 1 for number in range(5_000)})
    yield sent("more than 64 KiB", 413, "64 KiB", b"[" * 70_000)
    yield sent(
        "half a surrogate pair", 400, "no option", b'{"family":"dcgan","dataset":"faces","overrides":{"\\ud800":1}}'
    )
    yield sent("a form", 400, "", b"family=dcgan&dataset=faces", "application/x-www-form-urlencoded")
    yield sent("sent as text", 400, "", json.dumps(order).encode(), "text/plain")
    yield sent("nothing in it", 400, "family", {})
    yield sent("an unknown family", 400, "family", order | {"family": "vae"})
    yield sent("an unknown preset", 400, "preset", order | {"preset": "tpu"})
    yield sent("an unknown field", 400, "epochs", order | {"epochs": 3})
    for dataset in ("nobody", "../../etc/passwd", "/etc", "", "faces\0", "http://example.org/x.zip", "a" * 65):
        yield sent(f"data set {dataset[:20]!r}", 400, "data set|dataset", order | {"dataset": dataset})
    yield sent("a data set that is a list", 400, "dataset", order | {"dataset": ["faces"]})
    for name, value in (
        ("lr", -1), ("lr", "fast"), ("lr", None), ("batch_size", 0), ("batch_size", 1.5), ("batch_size", 10**30),
        ("epochs", -1), ("name", "../x"), ("name", ""), ("device", "cuda"), ("threads", 99), ("out", "/tmp"),
        ("width", 10**9), ("seed", -1), ("init", "../../x"), ("precision", "int8"), ("__class__", 1),
    ):  # fmt: skip
        yield sent(f"{name}={value!r}", (400, 404), name, order | {"overrides": {name: value}})
    for text in ("NaN", "Infinity", "-Infinity", "1e999"):
        yield sent(
            f"lr={text}",
            400,
            "lr",
            b'{"family": "dcgan", "dataset": "faces", "overrides": {"lr": ' + text.encode() + b"}}",
        )
    yield sent("overrides that are a list", 400, "overrides", order | {"overrides": [1]})
    for tail in ("", "/preview", "/cancel", "/resume", "/promote"):
        method = "GET" if tail in ("", "/preview") else "POST"
        for id in ("unknown", "..%2f..", "%00", "A B", "*"):
            yield Case(
                f"training: {method} /training-runs/{id}{tail}",
                404,
                "",
                method=method,
                path=f"/training-runs/{id}{tail}",
            )
    yield Case(
        "training: resume with no JSON",
        (400, 404),
        "",
        b"nonsense",
        path="/training-runs/unknown/resume",
        headers={"Content-Type": "application/json"},
    )


def models() -> Iterator[Case]:
    def put(name: str, status: int, says: str, body: bytes, model: str = "glcic-celeba") -> Case:
        return Case(
            f"models: {name}",
            status,
            says,
            body,
            "PUT",
            f"/models/{model}/active",
            {"Content-Type": "application/json"},
        )

    yield put("no body", 400, "", b"")
    yield put("no version", 400, "version", b"{}")
    yield put("a version that cannot be one", 400, "version", b'{"version": "../../x"}')
    yield put("a version of NaN", 400, "version", b'{"version": NaN}')
    yield put("a version that there is not", 404, "Versions:", b'{"version": "00000000"}')
    yield put("a model that there is not", 404, "Models:", b'{"version": "00000000"}', "nobody")
    for name in ("nobody", "..%2f..%2fx", "%00", "UPPER", "a" * 65, "glcic-celeba.json", "модель"):
        yield Case(f"models: GET /models/{name[:20]}", (400, 404), "", method="GET", path=f"/models/{name}")
