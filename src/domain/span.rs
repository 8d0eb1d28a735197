//! Spans of time, as people are told them.

use chrono::TimeDelta;

/// How long ago, in one unit: `42s`, `22m`, `5h`, `3d`, `2y`.
pub fn age(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        172_800..63_072_000 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", seconds / 31_536_000),
    }
}

/// How long something took, in its two largest units: `42s`, `1m 32s`, `2h 5m`, `1d 3h`.
pub fn duration(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    if days > 0 {
        format!("{days}d {}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let expected = [
            (-5, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (172_799, "47h"),
            (259_200, "3d"),
            (70_000_000, "2y"),
        ];
        for (seconds, text) in expected {
            assert_eq!(age(TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        let expected = [(0, "0s"), (92, "1m 32s"), (7_500, "2h 5m"), (97_200, "1d 3h")];
        for (seconds, text) in expected {
            assert_eq!(duration(TimeDelta::seconds(seconds)), text);
        }
    }
}
