/* The theme's scores, and for a word of the glossary the word beside the page's title. */
var Scorer = {
  score: (result) => {
    const [doc, , anchor, , score, , kind] = result;
    if (kind === "index") {
      const index = Search._index;
      const word = Object.keys(index.indexentries).find((entry) =>
        index.indexentries[entry].some(
          ([file, id]) => index.docnames[file] === doc && "#" + id === anchor,
        ),
      );
      if (word) result[3] = word;
    }
    return score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
