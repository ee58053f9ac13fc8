//! N3: a panic is a violation of the run it happens in, with what was said and where.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Inside `guard`: what the last panic said.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    static GUARDS: RefCell<u32> = const { RefCell::new(0) };
}

/// Runs something; a panic becomes an error that says what and where, and is not printed.
///
/// # Errors
/// The panic's message and place.
pub fn guard<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDS.with_borrow(|guards| *guards == 0) {
                return usual(info);
            }
            let said = info.payload_as_str().unwrap_or("no message");
            let place = info.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
            CAUGHT.set(Some(format!("{said}{place}")));
        }));
    });
    GUARDS.with_borrow_mut(|guards| *guards += 1);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    GUARDS.with_borrow_mut(|guards| *guards -= 1);
    result.map_err(|_| CAUGHT.take().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_says_what_and_where() {
        let said_ok = guard(|| 7);
        assert_eq!(said_ok, Ok(7));
        let said = guard(|| assert!(said_ok.is_err(), "said {said_ok:?}")).unwrap_err();
        assert!(said.starts_with("said Ok(7) at ") && said.contains("panics.rs"), "{said}");
    }
}
