//! Between folders and blocks: packing what is published, writing out what was fetched.

pub(crate) mod export;
pub(crate) mod pack;
#[cfg(test)]
mod tests;

use std::path::Path;

/// Means the same entry of the same folder everywhere: no separators of other systems, nothing invisible.
fn is_safe(name: &str) -> bool {
    let one_component = Path::new(name).components().count() == 1;
    one_component && !name.chars().any(|c| c.is_control() || "\\:".contains(c)) && !name.ends_with(['.', ' '])
}

/// The name as a file system that ignores case sees it.
fn folded(name: &str) -> String {
    name.to_lowercase()
}
