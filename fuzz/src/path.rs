//! A path parses if and only if a second, plain reading of the grammar takes it, and what parses prints as it came.

use holdall::StoragePath;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = StoragePath::parse(text);
    assert_eq!(parsed.is_ok(), is_path(text), "{text:?}");
    match parsed {
        Ok(path) => check_laws(&path, text),
        Err(error) => assert!(error.to_string().len() < 1_000, "an error repeats a hostile text at length"),
    }
}

fn check_laws(path: &StoragePath, text: &str) {
    assert_eq!(path.as_str(), text);
    assert_eq!(path.to_string().parse::<StoragePath>().as_ref(), Ok(path));
    let joined = path.components().fold(String::new(), |all, component| all + "/" + component);
    assert_eq!(if path.is_root() { "/" } else { &joined }, text);
    match (path.parent(), path.file_name()) {
        (None, None) => assert!(path.is_root()),
        (Some(parent), Some(name)) => {
            assert_eq!(parent.join(name).as_ref(), Ok(path));
            assert_eq!(path.strip_prefix(&parent), Some(name));
            assert!(path.starts_with(&parent) && !parent.starts_with(path));
        }
        odd => panic!("{path}: {odd:?}"),
    }
}

/// `^(/[A-Za-z0-9._-]+)+$` or `/`, at most 768 bytes, at most 255 a component, no `.` and no `..`.
fn is_path(text: &str) -> bool {
    let component = |c: &str| {
        (1..=255).contains(&c.len())
            && c != "."
            && c != ".."
            && c.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let rest = text.strip_prefix('/');
    text.len() <= 768 && rest.is_some_and(|rest| rest.is_empty() || rest.split('/').all(component))
}
