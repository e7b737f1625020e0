//! Reads what Rust's test runner prints. Not here: starting it.

use super::summary::Count;

/// Counts over the output of any number of test programs, line by line.
#[derive(Default)]
pub(crate) struct Reader {
    count: Count,
    /// A test program announced its tests and has not told their result.
    open: bool,
    /// Tests of it that said they cannot run here; it counts them among the passed ones.
    skipped: u32,
}

/// How a test says so, on a line of its own and past the runner, which keeps what a passing test prints.
const SKIPPED: &str = "SKIPPED: ";

impl Reader {
    /// Takes one line of standard output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("running ")
            && let Some((number, "test" | "tests")) = rest.split_once(' ')
            && number.parse::<u32>().is_ok()
        {
            self.close();
            self.open = true;
        } else if self.open && line.starts_with(SKIPPED) {
            self.skipped += 1;
        } else if let Some(mut count) = result(line) {
            let skipped = std::mem::take(&mut self.skipped).min(count.passed);
            count.passed -= skipped;
            count.skipped += skipped;
            self.count += count;
            self.open = false;
        }
    }

    /// A program that died before it told its result is a failure that no line reports.
    fn close(&mut self) {
        if self.open {
            self.count.failed += 1;
            self.skipped = 0;
            self.open = false;
        }
    }

    /// The sums. `success`: how cargo itself ended; a failure without a failed test is counted as one
    /// (a test that does not compile, a program that was killed).
    pub(crate) fn finish(mut self, success: bool) -> Count {
        self.close();
        if !success && self.count.failed == 0 {
            self.count.failed = 1;
        }
        self.count
    }
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.12s`
fn result(line: &str) -> Option<Count> {
    let rest = line.strip_prefix("test result: ")?;
    let (_, numbers) = rest.split_once(". ")?;
    let mut count = Count::default();
    for part in numbers.split("; ") {
        let (number, what) = part.split_once(' ')?;
        match what {
            "passed" => count.passed = number.parse().ok()?,
            "failed" => count.failed = number.parse().ok()?,
            "ignored" => count.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, success: bool) -> Count {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.finish(success)
    }

    const TWO: &str = "\nrunning 2 tests\ntest a ... ok\ntest b ... ignored\n
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s\n
running 1 test\ntest c ... FAILED\n
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    #[test]
    fn results_of_several_programs_add_up() {
        assert_eq!(read(TWO, false), Count { passed: 1, failed: 1, skipped: 1 });
        assert_eq!(read("", true), Count::default());
    }

    #[test]
    fn a_test_that_cannot_run_is_counted_as_skipped() {
        let text = TWO.replace("test b ... ignored", "test b ... \nSKIPPED: no cgroups here\nok");
        assert_eq!(read(&text, false), Count { passed: 0, failed: 1, skipped: 2 });
        assert_eq!(read(&format!("SKIPPED: nothing\n{TWO}"), false), read(TWO, false));
    }

    #[test]
    fn a_program_that_dies_is_a_failure() {
        let died = format!("running 7 tests\ntest a ... ok\n{TWO}");
        assert_eq!(read(&died, false), Count { passed: 1, failed: 2, skipped: 1 });
        assert_eq!(read("running 7 tests\n", false), Count { failed: 1, ..Count::default() });
    }

    #[test]
    fn what_does_not_compile_is_a_failure() {
        assert_eq!(read("error: could not compile", false), Count { failed: 1, ..Count::default() });
    }

    #[test]
    fn a_test_that_prints_similar_words_counts_for_nothing() {
        let noise = "running late for tests\ntest result: none\n  test result: ok. 9 passed; 0 failed\n";
        assert_eq!(read(noise, true), Count::default());
    }
}
