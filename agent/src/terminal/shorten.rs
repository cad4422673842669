//! Names that are too long for their column: cut in the middle, so that begin and end tell them apart. PURE.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Of a container's width its own name gets no more than one part in so many, the rest its pod.
const CONTAINER_PART: usize = 3;

/// The name in so many columns, with `…` for what is left out.
pub(super) fn shortened(name: &str, columns: usize) -> String {
    cut(name, columns, 2)
}

/// The same of a command line, whose begin says more than its end.
pub(super) fn shortened_command(name: &str, columns: usize) -> String {
    cut(name, columns, 4)
}

/// One part in so many is the end.
fn cut(name: &str, columns: usize, parts: usize) -> String {
    if name.width() <= columns {
        return name.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut left = room - room.div_ceil(parts);
    let head: String = name.chars().take_while(|c| takes(&mut left, *c)).collect();
    let mut left = room - head.width();
    let mut tail: Vec<char> = name.chars().rev().take_while(|c| takes(&mut left, *c)).collect();
    tail.reverse();
    format!("{head}…{}", tail.into_iter().collect::<String>())
}

/// The same of `namespace/pod/container`: pods are told apart as well as containers.
pub(super) fn shortened_container(name: &str, columns: usize) -> String {
    let Some((pod, container)) = name.rsplit_once('/').filter(|_| name.width() > columns) else {
        return shortened(name, columns);
    };
    let most = (columns / CONTAINER_PART).max(columns.saturating_sub(pod.width() + 1));
    let container = shortened(container, most);
    let pod = shortened(pod, columns.saturating_sub(container.width() + 1));
    shortened(&format!("{pod}/{container}"), columns)
}

fn takes(left: &mut usize, c: char) -> bool {
    let rest = left.checked_sub(c.width().unwrap_or(0));
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(name: &str, columns: usize, expected: &str) {
        assert_eq!(shortened(name, columns), expected);
    }

    #[test]
    fn begin_and_end_stay() {
        check("shop/web-7d9c6b5f4d-abcde", 25, "shop/web-7d9c6b5f4d-abcde");
        check("shop/web-7d9c6b5f4d-abcde", 20, "shop/web-…5f4d-abcde");
        check("shop/web-7d9c6b5f4d-xyzzy", 20, "shop/web-…5f4d-xyzzy");
        check("abc", 2, "…c");
        check("abc", 1, "…");
        check("abc", 0, "");
        check("漢字漢字", 6, "漢…字");
    }

    #[test]
    fn of_a_command_line_more_of_the_begin() {
        assert_eq!(shortened_command("server-42 --port 80", 17), "server-42 --…t 80");
        assert_eq!(shortened_command("server-42 --port 80", 2), "…0");
    }

    #[test]
    fn a_container_leaves_room_for_its_pod() {
        for (name, columns, expected) in [
            ("shop/web-7d9c6b5f4d-abcde/app", 38, "shop/web-7d9c6b5f4d-abcde/app"),
            ("shop/web-7d9c6b5f4d-abcde/app", 24, "shop/web-…5f4d-abcde/app"),
            ("shop/web-7d9c6b5f4d-abcde/a-very-long-container", 30, "shop/web-…f4d-abcde/a-ve…ainer"),
            ("s/w-1/a-very-long-container", 20, "s/w-1/a-very…ntainer"),
            ("(outside pods)", 9, "(out…ods)"),
        ] {
            assert_eq!(shortened_container(name, columns), expected);
        }
    }

    proptest! {
        #[test]
        fn never_wider_than_its_column(name in "[a-z/漢é\u{301}]{0,40}", columns in 0usize..45) {
            prop_assert!(shortened(&name, columns).width() <= columns);
            prop_assert!(shortened_command(&name, columns).width() <= columns);
            prop_assert!(shortened_container(&name, columns).width() <= columns);
            if name.width() <= columns {
                prop_assert_eq!(shortened_container(&name, columns), name);
            }
        }
    }
}
