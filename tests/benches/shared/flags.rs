//! The command line of a benchmark: flag by flag, each with its value. Not here: which flags there are.

use anyhow::{Context, Error, Result, anyhow, bail};

/// The flags that are left.
pub(crate) struct Flags {
    usage: &'static str,
    arguments: std::iter::Skip<std::env::Args>,
    flag: String,
}

impl Flags {
    /// The flags of this process. `usage` explains them where one is wrong, or where somebody asks.
    pub(crate) fn new(usage: &'static str) -> Flags {
        Flags { usage, arguments: std::env::args().skip(1), flag: String::new() }
    }

    /// The next flag. Whoever asks for help gets it, and the process ends.
    pub(crate) fn next(&mut self) -> Option<String> {
        // Cargo adds `--bench`.
        let flag = self.arguments.by_ref().find(|argument| argument != "--bench")?;
        if flag == "-h" || flag == "--help" {
            println!("{}", self.usage);
            std::process::exit(0);
        }
        self.flag.clone_from(&flag);
        Some(flag)
    }

    /// Its value.
    pub(crate) fn value(&mut self) -> Result<String> {
        self.arguments.next().with_context(|| format!("{} needs a value\n{}", self.flag, self.usage))
    }

    /// Its value as numbers above 0 with commas between them.
    pub(crate) fn numbers(&mut self) -> Result<Vec<u32>> {
        let (value, usage) = (self.value()?, self.usage);
        let number = |n: &str| n.parse().ok().filter(|n| *n > 0);
        value
            .split(',')
            .map(|n| number(n).with_context(|| format!("'{n}' is no number above 0\n{usage}")))
            .collect()
    }

    /// The value of `-o`: whether programs shall read the output.
    pub(crate) fn json(&mut self) -> Result<bool> {
        match self.value()?.as_str() {
            "table" => Ok(false),
            "json" => Ok(true),
            other => bail!("there is no output '{other}'\n{}", self.usage),
        }
    }

    /// What to say of a flag that nobody knows.
    pub(crate) fn unknown(&self) -> Error {
        anyhow!("there is no flag '{}'\n{}", self.flag, self.usage)
    }
}
