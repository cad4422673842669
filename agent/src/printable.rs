//! Text of others on its way to a terminal, a log, or JSON that somebody looks at. PURE.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Whether it stands for itself. Control characters move a terminal's cursor; format characters reorder or hide what
/// stands beside them (bidirectional controls, zero-width joiners); separators of lines and paragraphs begin new ones.
#[must_use]
pub fn is_printable(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    match c {
        ' '..='~' => true,
        _ => !matches!(c.general_category(), Control | Format | LineSeparator | ParagraphSeparator),
    }
}

/// With U+FFFD for each character that is not printable.
#[must_use]
pub fn printable(text: &str) -> String {
    replaced(text, is_printable)
}

/// The same of a text of several lines.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    replaced(text, |c| c == '\n' || is_printable(c))
}

/// The same in one line: what sets words apart is a blank.
#[must_use]
pub fn one_line(text: &str) -> String {
    printable(text.trim().replace(|c: char| c.is_control() && c.is_whitespace(), " ").as_str())
}

fn replaced(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    text.chars().map(|c| if is_kept(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_reorders_hides_or_breaks_lines_is_replaced() {
        let cc = ['\0', '\t', '\n', '\u{1b}', '\u{7f}', '\u{9b}'];
        let cf =
            ['\u{ad}', '\u{61c}', '\u{200b}', '\u{200e}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{feff}', '\u{e0041}'];
        for c in cc.into_iter().chain(cf).chain(['\u{2028}', '\u{2029}']) {
            assert!(!is_printable(c), "{c:?}");
            assert_eq!(printable(&format!("a{c}b")), "a\u{fffd}b");
        }
    }

    #[test]
    fn writing_stays_as_it_is() {
        let text = "nginx: ~ é ß Ω 漢字 שלום سلام 🦀 \u{a0}\u{3000}";
        assert_eq!(printable(text), text);
    }

    #[test]
    fn lines() {
        assert_eq!(printable_lines("a\nb\u{202e}\r\n"), "a\nb\u{fffd}\u{fffd}\n");
        assert_eq!(one_line(" a\n\tb\u{1b}c\n"), "a  b\u{fffd}c");
    }
}
