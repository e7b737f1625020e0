//! Who may name whom: the table of ARCHITECTURE.md, enforced. Cargo does it between crates; this does it
//! between the modules of one crate, and for the parts of `std` that a pure crate must not touch.

use super::{File, Finding};
use crate::tidy::source::paths;

/// A row: files below `within` but not below `except` never name a path below `never`.
struct Row {
    within: &'static [&'static str],
    except: &'static [&'static str],
    never: &'static [&'static str],
    why: &'static str,
}

const AGENT: &str = "isolator-agent/src/";

const TABLE: &[Row] = &[
    Row {
        within: &[AGENT],
        except: &["isolator-agent/src/source/", "isolator-agent/src/publish/"],
        never: &["k8s_openapi", "kube"],
        why: "Kubernetes types end in source/ and begin in publish/; use the types of isolator_policy::model",
    },
    Row {
        within: &[AGENT],
        except: &["isolator-agent/src/datapath/", "isolator-agent/src/flows/reader.rs"],
        never: &["aya", "aya_obj"],
        why: "only datapath/ and the ring reader talk to the kernel's maps and programs",
    },
    Row {
        within: &[AGENT],
        except: &[
            "isolator-agent/src/cli/",
            "isolator-agent/src/lab/commands.rs",
            "isolator-agent/src/args.rs",
            "isolator-agent/src/main.rs",
        ],
        never: &["clap", "clap_complete"],
        why: "arguments are read in cli/ and handed on as plain values",
    },
    Row {
        within: &["isolator-agent/policy/src/", "isolator-common/src/"],
        except: &[],
        never: &[
            "tokio",
            "std::fs",
            "std::io",
            "std::env",
            "std::process",
            "std::thread",
            "std::os",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "std::time::SystemTime",
            "std::time::Instant",
            "SystemTime::now",
            "Instant::now",
            "println",
            "eprintln",
        ],
        why: "this crate is pure: no I/O, no clock, no threads; take the value as an argument",
    },
    Row {
        within: &["isolator-ebpf/src/"],
        except: &[],
        never: &["aya_log_ebpf", "info", "warn", "error", "debug", "trace", "bpf_printk", "isolator_policy"],
        why: "the kernel programs log nothing and know no policy of their own",
    },
    Row {
        within: &["isolator-agent/src/source/"],
        except: &[],
        never: &["isolator_policy::meaning", "isolator_policy::datapath", "crate::datapath", "crate::flows"],
        why: "source/ turns manifests into our types and does not know what becomes of them",
    },
    Row {
        within: &["isolator-agent/src/publish/"],
        except: &[],
        never: &["isolator_policy::meaning", "crate::datapath", "crate::flows", "crate::enforce"],
        why: "publish/ says what the account says, and nothing that is enforced depends on it",
    },
    Row {
        within: &["isolator-agent/src/datapath/"],
        except: &[],
        never: &["isolator_policy::meaning", "crate::source", "crate::cli", "crate::lab", "crate::flows"],
        why: "datapath/ writes values into maps and does not know what they mean",
    },
    Row {
        within: &["isolator-agent/src/flows/"],
        except: &[],
        never: &["isolator_policy::meaning", "crate::source", "crate::cli", "crate::lab"],
        why: "flows/ gives events names and does not judge",
    },
    Row {
        within: &["isolator-agent/src/lab/"],
        except: &[],
        never: &["isolator_policy::meaning", "isolator_policy::datapath", "crate::datapath"],
        why: "lab/ builds networks; what it sees must not depend on what policy says",
    },
];

/// Macros are named like functions and variables; only the call counts.
const MACROS: [&str; 7] = ["info", "warn", "error", "debug", "trace", "println", "eprintln"];

/// Paths that a file names though its layer may not.
pub(crate) fn check(file: &File) -> Vec<Finding> {
    let Some(rust) = &file.rust else { return Vec::new() };
    let rows: Vec<&Row> = TABLE.iter().filter(|row| row.holds(&file.path)).collect();
    if rows.is_empty() || file.is_test() {
        return Vec::new();
    }
    let code = rust.product();
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (line, path) in paths(&code) {
        let path = absolute(&file.path, &path);
        for row in &rows {
            for never in row.never {
                let is_call = !MACROS.contains(never)
                    || lines.get(line - 1).is_some_and(|text| text.contains(&format!("{never}!(")));
                if is_call && (path == *never || path.starts_with(&format!("{never}::"))) {
                    found.push(Finding::new(
                        file,
                        line,
                        format!("`{path}` is not for this layer: {}", row.why),
                    ));
                }
            }
        }
    }
    found.dedup();
    found
}

impl Row {
    fn holds(&self, path: &str) -> bool {
        let below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        below(self.within) && !below(self.except)
    }
}

/// A path with `self::` and `super::` resolved against the module of the file.
fn absolute(file: &str, path: &str) -> String {
    if !path.starts_with("super::") && !path.starts_with("self::") {
        return path.to_owned();
    }
    let inside = file.split_once("src/").map_or("", |(_, inside)| inside).trim_end_matches(".rs");
    let mut module: Vec<&str> =
        inside.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect();
    let mut rest = path;
    loop {
        if let Some(after) = rest.strip_prefix("super::") {
            module.pop();
            rest = after;
        } else if let Some(after) = rest.strip_prefix("self::") {
            rest = after;
        } else {
            break;
        }
    }
    module.insert(0, "crate");
    module.push(rest);
    module.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&File::new(path, text)).len()
    }

    #[test]
    fn a_path_outside_its_layer_is_found() {
        for (path, text) in [
            ("isolator-agent/src/cli/status.rs", "use k8s_openapi::api::core::v1::Pod;"),
            ("isolator-agent/src/controller.rs", "fn f(map: aya::maps::Array<u32>) {}"),
            ("isolator-agent/src/flows/enrich.rs", "use aya::maps::RingBuf;"),
            ("isolator-agent/src/lab/plan.rs", "use clap::Parser;"),
            ("isolator-agent/policy/src/cluster/index.rs", "let t = std::time::Instant::now();"),
            ("isolator-agent/policy/src/cluster/index.rs", "use std::{collections::BTreeMap, fs};"),
            ("isolator-common/src/judge.rs", "use std::time::SystemTime;"),
            ("isolator-common/src/judge.rs", "println!(\"a\");"),
            ("isolator-ebpf/src/view.rs", "info!(ctx, \"a\");"),
            ("isolator-agent/src/source/files.rs", "use isolator_policy::{meaning::compile, model};"),
            ("isolator-agent/src/source/files.rs", "use crate::{datapath, model};"),
            ("isolator-agent/src/lab/probe.rs", "use super::super::datapath::load;"),
            ("isolator-agent/src/datapath/store.rs", "use isolator_policy::meaning::oracle;"),
        ] {
            assert_eq!(count(path, text), 1, "{path}: {text}");
        }
    }

    #[test]
    fn a_path_in_its_layer_or_in_a_comment_or_test_is_fine() {
        for (path, text) in [
            ("isolator-agent/src/source/convert.rs", "use k8s_openapi::api::core::v1::Pod;"),
            ("isolator-agent/src/flows/reader.rs", "use aya::maps::RingBuf;"),
            ("isolator-agent/src/controller.rs", "// aya::maps is elsewhere\nlet s = \"aya::maps\";"),
            ("isolator-agent/policy/src/model.rs", "use std::collections::BTreeMap;"),
            ("isolator-agent/policy/src/model.rs", "fn a() {}\n\n#[cfg(test)]\nmod tests { use std::fs; }"),
            ("isolator-ebpf/src/view.rs", "let info = 3; f(info);"),
            ("isolator-agent/src/lab/probe.rs", "use super::netns::Netns;"),
        ] {
            assert_eq!(count(path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn relative_paths_are_resolved() {
        assert_eq!(absolute("isolator-agent/src/lab/probe.rs", "super::netns"), "crate::lab::netns");
        assert_eq!(absolute("isolator-agent/src/lab/mod.rs", "super::datapath"), "crate::datapath");
        assert_eq!(absolute("isolator-agent/src/lab/mod.rs", "self::netns"), "crate::lab::netns");
    }
}
