//! Reads the file that says where pods are. Not here: what is done with it (`placement`).

use super::placement::Placements;
use isolator_policy::model::{Place, Problem, Severity};
use std::path::Path;

/// Reads the placement file. One that is not there yet says nothing.
pub(crate) fn read_placements(path: &Path) -> Result<Placements, Problem> {
    let problem = |message: String| Problem {
        severity: Severity::Error,
        code: "placements-unreadable",
        place: Place::file(&path.display().to_string()),
        object: String::new(),
        field: String::new(),
        message,
    };
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| problem(format!("{error}. The placements read before stay in force."))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Placements::default()),
        Err(error) => Err(problem(format!("{error}. The placements read before stay in force."))),
    }
}
