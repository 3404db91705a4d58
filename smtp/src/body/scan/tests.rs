//! Each scan against what a slow reading of the same octets finds, on every kind of vectors that this machine has.

use super::*;
use proptest::prelude::*;

/// What the words of [`Facts`] say, read off directly.
fn model(content: &[u8]) -> Facts {
    let text: String = content.iter().map(|&octet| if octet > 127 { '?' } else { char::from(octet) }).collect();
    let lines: Vec<&str> = text.split("\r\n").collect();
    Facts {
        eight_bit: content.iter().any(|&octet| octet > 127),
        dot_lines: lines.iter().any(|line| line.starts_with('.')),
        binary: lines.iter().any(|line| line.contains(['\r', '\n'])),
        ends_with_crlf: text.ends_with("\r\n"),
        longest_line: lines.iter().map(|line| line.len()).max().unwrap_or(0) as u32,
    }
}

/// Where dots begin lines.
fn line_dots(content: &[u8]) -> Vec<usize> {
    let begins_line = |at: usize| at == 0 || content[..at].ends_with(b"\r\n");
    (0..content.len()).filter(|&at| content[at] == b'.' && begins_line(at)).collect()
}

/// All that this machine can do, as if it could do no better.
fn levels() -> Vec<Level> {
    let best = Level::new();
    let mut levels = vec![best];
    #[cfg(target_arch = "x86_64")]
    levels.extend(
        [best.as_avx2().map(Simd::level), best.as_sse4_2().map(Simd::level), best.as_sse2().map(Simd::level)]
            .into_iter()
            .flatten(),
    );
    levels
}

fn check(content: &[u8], cuts: &[usize]) {
    assert_eq!(Facts::of(content), model(content), "{:?}", content.escape_ascii().to_string());
    levels().into_iter().for_each(|level| check_at(level, content, cuts));
}

fn check_at(level: Level, content: &[u8], cuts: &[usize]) {
    let (mut scan, mut to_dots, mut start) = (FactScan::default(), FactScan::default(), 0);
    let (mut starts, mut stops) = (vec![], vec![]);
    for &cut in cuts.iter().chain([&usize::MAX]) {
        let end = start + cut.min(content.len() - start);
        starts.push(start);
        assert_eq!(scan.feed_at(level, &content[start..end], Stop::AtEnd), end - start);
        while start < end {
            let taken = to_dots.feed_at(level, &content[start..end], Stop::AtDot);
            assert_ne!(taken, 0, "it would never end");
            start += taken;
            stops.extend((start < end).then_some(start));
        }
    }
    let about = || format!("{:?} cut at {cuts:?}, {level:?}", content.escape_ascii().to_string());
    assert_eq!(scan.facts(), model(content), "{}", about());
    assert_eq!(to_dots, scan, "{}", about());
    // At the first octet of a piece nothing stops.
    let expected: Vec<usize> = line_dots(content).into_iter().filter(|at| !starts.contains(at)).collect();
    assert_eq!(stops, expected, "{}", about());
}

#[test]
fn facts_of_small_contents() {
    for content in [
        "",
        "a",
        "\r\n",
        ".",
        "..",
        "a\r\n.",
        "\r",
        "\n",
        "\r\r\n",
        "\n\r\n",
        "a\0b",
        "\0",
        "\r\n\r\n.",
        "\r\n.\r\n.\r\n",
        "\u{7f}",
        "\r\n\r",
        ".\r\n.\n",
    ] {
        check(content.as_bytes(), &[1; 8]);
        check(content.as_bytes(), &[2; 8]);
    }
    check(b"\xe9", &[]);
    check(b"ab\xff", &[2]);
}

/// What matters stands anywhere in a block, in a long line and in a short one.
#[test]
fn facts_across_blocks() {
    for begin in ["", "a\r\n"] {
        for before in 0..5 * BLOCK_BYTES / 2 {
            for what in ["\r\n.", "\r", "\n", "\r\n", "\r\r\n", "\n.", "\u{b}\u{c}\t\0", "\r\né", "\r\n.é\r\n"] {
                for behind in [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES] {
                    let content = [begin, &"x".repeat(before), what, &"y".repeat(behind)].concat();
                    check(content.as_bytes(), &[before]);
                }
            }
        }
    }
}

#[test]
fn cr_and_lf_far_apart_end_no_line() {
    for before in 0..4 * BLOCK_BYTES {
        for between in [BLOCK_BYTES, 2 * BLOCK_BYTES] {
            let content = ["x".repeat(before).as_str(), "\r", &"y".repeat(between), "\n.\r\n"].concat();
            check(content.as_bytes(), &[before]);
        }
    }
}

/// What stands behind the dot that stopped a scan is not yet known.
#[test]
fn a_stopped_scan_knows_nothing_of_the_rest() {
    for before in 0..2 * BLOCK_BYTES {
        let content = ["x".repeat(before).as_str(), "\r\n", ".é\r \n"].concat();
        let mut scan = FactScan::default();
        assert_eq!(scan.feed_to_dot(content.as_bytes()), before + 2);
        assert_eq!(scan.facts(), model(&content.as_bytes()[..before + 2]), "{before}");
    }
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0..9usize, 0..300usize], 0..12)
}

/// Octets of any kind, and as many as a line may have and more.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "(\r\n){1,3}",
        1 => "[\r\n.]{1,3}",
        2 => "[a\0\t\u{b}\u{c}\u{7f}é]{1,3}",
        2 => "(\r\n)?[.]{1,3}",
        3 => (0..150usize).prop_map(|length| "x".repeat(length)),
    ]
}

proptest! {
    #[test]
    fn facts_do_not_depend_on_the_cuts(lines in prop::collection::vec("[ab.]{0,5}(\r\n|\r\n|\r\n|\r|\n|\0)?", 0..12), cuts in prop::collection::vec(0..9usize, 0..12)) {
        check(lines.concat().as_bytes(), &cuts);
    }

    #[test]
    fn facts_do_not_depend_on_the_lengths(parts in prop::collection::vec(part(), 0..24), cuts in cuts()) {
        check(parts.concat().as_bytes(), &cuts);
    }

    #[test]
    fn facts_of_well_formed_lines(lengths in prop::collection::vec(0..120usize, 0..60), cuts in cuts()) {
        let content: String = lengths.iter().map(|&length| "x".repeat(length) + "\r\n").collect();
        check(content.as_bytes(), &cuts);
    }
}
