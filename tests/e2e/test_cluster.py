"""Two API hosts and two worker hosts that share a broker and a bucket, and no disk; tests/e2e/cluster.py does more."""

from pathlib import Path

import httpx
import pytest

from tests.e2e import cluster as hosts
from tests.e2e.cluster import Cluster


@pytest.mark.timeout(240)
def test_hosts_that_share_a_broker_and_a_bucket_are_one_service(tmp_path: Path) -> None:
    """Any API answers for any job, events cross hosts, totals agree; a worker and an API are killed and nothing is
    lost; what one API puts into service, every worker draws with; nothing is left over."""
    with Cluster(tmp_path, apis=2, workers=2).running() as cluster:
        jobs = hosts.send_jobs(cluster, 6)
        cluster.workers[0].kill()
        jobs += hosts.send_jobs(cluster, 2)
        cluster.apis[0].kill()
        assert httpx.get(f"{cluster.apis[1].url}/jobs/{jobs[0]}", timeout=20).status_code == 200
        cluster.apis[0].start()
        cluster.workers[0].start()
        hosts.until(lambda: cluster.seen_workers() == 2, 60)
        hosts.check_results(cluster, jobs, 60)
        hosts.check_events(cluster)
        hosts.check_totals(cluster, 8)
        hosts.check_promotion(cluster, tmp_path / "elsewhere")
        hosts.check_clean(cluster, tmp_path / "elsewhere")
