//! What fuzzing found once, and inputs worth keeping, replayed.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets are another crate, and call them from there")]
mod targets;

use std::fs;
use std::path::Path;

/// Runs a target on each file of its folder.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/finds").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let file = entry.expect("the folder can be read").path();
        println!("{}", file.display());
        check(&fs::read(file).expect("the file can be read"));
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn path() {
    replay("path", targets::path::check);
}

#[test]
fn upload_info() {
    replay("upload_info", targets::upload_info::check);
}

#[test]
fn tus_headers() {
    replay("tus_headers", targets::tus_headers::check);
}

#[test]
fn operations() {
    replay("operations", targets::operations::check);
}
