//! An error and its causes as one line.

use std::error::Error;

/// The error, and each cause that it does not tell itself.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot read it: {source}")]
        Telling { source: std::io::Error },
        #[error("cannot read it")]
        Silent { source: std::io::Error },
    }

    #[test]
    fn each_cause_is_told_once() {
        let cause = || std::io::Error::other("the disk is gone");
        assert_eq!(explain(&Outer::Telling { source: cause() }), "cannot read it: the disk is gone");
        assert_eq!(explain(&Outer::Silent { source: cause() }), "cannot read it: the disk is gone");
    }
}
