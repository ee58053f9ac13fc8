//! Every committed corpus file runs through its fuzz body, so that what a fuzzer once found stays found.

use std::{fs, path::Path};

use registry_core::fuzzing::TARGETS;

#[test]
fn committed_corpora_hold() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("the manifest of the fuzz crate");
    for (name, body) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
        assert!(fuzz.join("fuzz_targets").join(name).with_extension("rs").exists(), "{name} has no stub");
        let folder = fuzz.join("corpus").join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut replayed = 0;
        for file in files {
            body(&fs::read(file.expect("a folder entry").path()).expect("a readable corpus file"));
            replayed += 1;
        }
        assert!(replayed > 0, "{} is empty", folder.display());
    }
}
