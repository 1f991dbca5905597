/** Pictures to try without one of your own, each with a hole already drawn. Sources: examples/README.md. */

/** @typedef {{file: string, name: string, alt: string, strokes: {radius: number, points: [number, number][]}[]}} Example */

/** @type {Example[]} */
export const EXAMPLES = [
  {
    file: "examples/astronaut.jpg",
    name: "astronaut.jpg",
    alt: "Portrait of an astronaut in an orange suit",
    strokes: [
      {
        radius: 11,
        points: [
          [200, 139],
          [214, 146],
          [234, 147],
          [249, 139],
        ],
      },
    ],
  },
  {
    file: "examples/chelsea.jpg",
    name: "chelsea.jpg",
    alt: "A tabby cat, close up",
    strokes: [
      {
        radius: 9,
        points: [
          [330, 250],
          [345, 262],
        ],
      },
    ],
  },
  {
    file: "examples/coffee.jpg",
    name: "coffee.jpg",
    alt: "A cup of coffee with a spoon on a wooden table",
    strokes: [
      {
        radius: 13,
        points: [
          [224, 256],
          [232, 258],
        ],
      },
    ],
  },
  {
    file: "examples/rocket.jpg",
    name: "rocket.jpg",
    alt: "A rocket on its launch pad at night",
    strokes: [
      {
        radius: 14,
        points: [
          [80, 349],
          [84, 351],
        ],
      },
    ],
  },
];
