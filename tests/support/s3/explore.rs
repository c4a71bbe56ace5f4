//! All runs of a test that makes choices.

/// Walks a tree of choices, depth first. The test runs once for each path from the root to a leaf, and must do the same
/// whenever it is given the same choices.
///
/// ```text
/// let mut choices = Choices::new();
/// while choices.next_run() {
///     …
///     match choices.choose(2) { … }
/// }
/// ```
#[derive(Debug, Default)]
pub struct Choices {
    /// What was chosen in this run, of how many.
    path: Vec<(usize, usize)>,
    /// How many of these this run has asked for already.
    at: usize,
    runs: usize,
}

impl Choices {
    /// Before the first run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes to the next run; false if there is none.
    pub fn next_run(&mut self) -> bool {
        if self.runs > 0 {
            assert_eq!(self.at, self.path.len(), "the run made fewer choices than the one before it: {:?}", self.path);
            while self.path.last().is_some_and(|(chosen, of)| chosen + 1 == *of) {
                self.path.pop();
            }
            match self.path.last_mut() {
                Some((chosen, _)) => *chosen += 1,
                None => return false,
            }
        }
        self.at = 0;
        self.runs += 1;
        true
    }

    /// Chooses one of `of`, which must be at least 1.
    pub fn choose(&mut self, of: usize) -> usize {
        assert!(of > 0, "nothing to choose from");
        let chosen = match self.path.get(self.at) {
            Some((chosen, before)) => {
                assert_eq!(*before, of, "other choices than in the run before, after {:?}", self.path);
                *chosen
            }
            None => {
                self.path.push((0, of));
                0
            }
        };
        self.at += 1;
        chosen
    }

    /// The number of runs so far.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// What was chosen in this run, to name it where it fails.
    pub fn path(&self) -> Vec<usize> {
        self.path.iter().take(self.at).map(|(chosen, _)| *chosen).collect()
    }
}
