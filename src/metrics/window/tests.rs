//! The sensors against the rules of Kafka's `SampledStat`, `Avg`, `Max`, `Rate` and `Meter`, at
//! hand-made times. The expected numbers are computed by hand from those rules.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A sensor of two windows of ten seconds, and what is done to it at seconds since the start.
struct Bed {
    start: Instant,
    sensor: Sensor,
}

impl Bed {
    fn new() -> Self {
        Self::with(2, 10 * SECOND)
    }

    fn with(count: u32, length: Duration) -> Self {
        Self { start: Instant::now(), sensor: Sensor::new(Windows { length, count }) }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    fn record(&mut self, seconds: f64, values: &[f64]) {
        for value in values {
            self.sensor.record(*value, self.at(seconds));
        }
    }

    fn measure(&mut self, seconds: f64, kind: Kind) -> f64 {
        self.sensor.measure(kind, self.at(seconds))
    }

    #[track_caller]
    fn expect(&mut self, seconds: f64, kind: Kind, expected: f64) {
        let got = self.measure(seconds, kind);
        assert!((got - expected).abs() < 1e-9, "{kind:?} at {seconds} s: {got}, not {expected}");
    }
}

#[test]
fn nothing_recorded_is_not_a_number_on_average_and_zero_at_a_rate() {
    let mut bed = Bed::new();
    assert!(bed.measure(1.0, Kind::Avg).is_nan());
    assert!(bed.measure(1.0, Kind::Max).is_nan());
    for kind in [Kind::Rate, Kind::CountRate, Kind::Ratio, Kind::Share] {
        bed.expect(1.0, kind, 0.0);
    }
    for kind in [Kind::Total, Kind::CountTotal, Kind::Value] {
        bed.expect(1.0, kind, 0.0);
    }
}

#[test]
fn the_smallest_is_told_of_what_is_known_and_an_hour_has_its_seconds() {
    let mut bed = Bed::new();
    assert!(bed.measure(1.0, Kind::Min).is_nan());
    bed.record(1.0, &[5.0, 3.0, 4.0]);
    bed.expect(1.0, Kind::Min, 3.0);
    // Three in a window and the one that there was not.
    bed.expect(1.0, Kind::CountPerHour, 3.0 * 3600.0 / 10.0);
    let mut counted = Bed::new();
    counted.sensor.record_all(Tally::of(30.0, 20.0, 2), counted.start);
    counted.expect(0.0, Kind::Max, 20.0);
    counted.expect(0.0, Kind::Avg, 15.0);
    assert!(counted.measure(0.0, Kind::Min).is_nan());
}

#[test]
fn the_first_window_counts_as_if_one_without_events_came_before() {
    let mut bed = Bed::new();
    bed.record(0.0, &[30.0]);
    // The window has just begun: 30 over the ten seconds that are missing.
    bed.expect(0.0, Kind::Rate, 3.0);
    bed.record(5.0, &[60.0]);
    bed.expect(5.0, Kind::Rate, 90.0 / 15.0);
    bed.expect(5.0, Kind::CountRate, 2.0 / 15.0);
    // One window is full now, and no more are asked for.
    bed.expect(10.0, Kind::Rate, 90.0 / 10.0);
    bed.expect(15.0, Kind::Rate, 90.0 / 15.0);
}

#[test]
fn with_one_window_none_is_missing() {
    let mut bed = Bed::with(1, 10 * SECOND);
    bed.record(0.0, &[8.0]);
    bed.expect(4.0, Kind::Rate, 2.0);
    // Not a division by nothing, but over Kafka's smallest unit of time.
    let mut bed = Bed::with(1, 10 * SECOND);
    bed.record(0.0, &[8.0]);
    bed.expect(0.0, Kind::Rate, 8_000.0);
}

#[test]
fn looking_at_a_rate_begins_the_first_window() {
    let mut bed = Bed::new();
    bed.expect(0.0, Kind::Rate, 0.0);
    bed.record(6.0, &[40.0]);
    bed.expect(6.0, Kind::Rate, 40.0 / 16.0);
}

#[test]
fn a_value_that_comes_after_a_full_window_begins_another() {
    let mut bed = Bed::new();
    bed.record(0.0, &[1.0]);
    bed.record(9.999, &[1.0]);
    // The first window is ten seconds old, so this is in the second.
    bed.record(10.0, &[10.0]);
    bed.record(21.0, &[100.0]);
    bed.expect(21.0, Kind::Rate, 112.0 / 21.0);
    bed.expect(21.0, Kind::Max, 100.0);
    // The last value of the first window is twenty seconds old: it goes as a whole.
    bed.expect(29.999, Kind::Rate, 110.0 / 19.999);
    // So does the second, of which the value is twenty seconds old.
    bed.expect(30.0, Kind::Rate, 100.0 / (30.0 - 21.0 + 10.0));
    // What is left was recorded at 21, and goes at 41; the windows begin anew then.
    bed.expect(40.999, Kind::Avg, 100.0);
    assert!(bed.measure(41.0, Kind::Avg).is_nan());
    bed.expect(41.0, Kind::Rate, 0.0);
    bed.expect(41.0, Kind::Total, 112.0);
}

#[test]
fn a_window_that_overlaps_the_time_looked_at_counts_whole() {
    let mut bed = Bed::new();
    bed.record(0.0, &[5.0]);
    bed.record(9.0, &[7.0]);
    // The value of second 0 would be too old by itself.
    bed.expect(28.0, Kind::Avg, 6.0);
    bed.expect(28.0, Kind::Rate, 12.0 / 28.0);
    assert!(bed.measure(29.0, Kind::Avg).is_nan());
}

#[test]
fn average_and_maximum_forget_what_is_too_old() {
    let mut bed = Bed::new();
    bed.record(0.0, &[100.0, 50.0]);
    bed.record(12.0, &[10.0, 20.0]);
    bed.expect(12.0, Kind::Max, 100.0);
    bed.expect(12.0, Kind::Avg, 180.0 / 4.0);
    bed.expect(20.0, Kind::Max, 20.0);
    bed.expect(20.0, Kind::Avg, 15.0);
    bed.record(25.0, &[-3.0]);
    bed.expect(32.0, Kind::Max, -3.0);
}

#[test]
fn after_a_silence_the_windows_begin_anew() {
    let mut bed = Bed::new();
    bed.record(0.0, &[1000.0]);
    bed.record(500.0, &[20.0]);
    // The old window is forgotten at the look, and begins at it.
    bed.expect(500.0, Kind::Rate, 2.0);
    bed.expect(505.0, Kind::Rate, 20.0 / 15.0);
    bed.expect(505.0, Kind::Total, 1020.0);
}

#[test]
fn samples_are_used_again_and_never_more_than_one_beside_the_windows() {
    for count in [1_u32, 2, 5] {
        let mut bed = Bed::with(count, SECOND);
        for second in 0..100 {
            bed.record(f64::from(second), &[1.0]);
            // Each second has its sample; those within `count` seconds of now count.
            let held = (second + 1).min(count as i32);
            let span = if second == 0 {
                f64::from(count) - 1.0
            } else {
                f64::from(held - 1).max(f64::from(count) - 1.0)
            };
            let expected = f64::from(held) / span.max(0.001);
            bed.expect(f64::from(second), Kind::Rate, expected);
        }
        assert_eq!(bed.sensor.samples.len(), count as usize + 1);
    }
}

#[test]
fn a_steady_stream_shows_its_rate_at_any_time() {
    let mut bed = Bed::with(2, 30 * SECOND);
    for tenth in 0..3_000 {
        let now = f64::from(tenth) / 10.0;
        bed.record(now, &[5.0]);
        if now > 60.0 {
            let rate = bed.measure(now, Kind::Rate);
            assert!((rate - 50.0).abs() < 0.2, "{rate} at {now}");
            bed.expect(now, Kind::Avg, 5.0);
        }
    }
    bed.expect(300.0, Kind::Total, 15_000.0);
    bed.expect(300.0, Kind::CountTotal, 3_000.0);
}

#[test]
fn ratios_are_nanoseconds_over_nanoseconds() {
    let mut bed = Bed::new();
    for second in 1..=10 {
        let now = bed.at(f64::from(second));
        bed.sensor.record_nanos(SECOND / 4, now);
    }
    // From second 1, when the window began; one window is missing.
    bed.expect(10.0, Kind::Ratio, 2.5 / 19.0);
    bed.expect(11.0, Kind::Ratio, 2.5 / 10.0);
    bed.expect(11.0, Kind::Total, 2.5e9);
    bed.expect(11.0, Kind::Avg, 0.25e9);
    // A wait that began long before the windows did.
    let now = bed.at(11.0);
    bed.sensor.record_nanos(100 * SECOND, now);
    assert!(bed.measure(11.0, Kind::Ratio) > 1.0);
    bed.expect(11.0, Kind::Share, 1.0);
}

#[test]
fn values_that_come_together_count_as_if_each_came_alone() {
    let (mut together, mut alone) = (Bed::new(), Bed::new());
    let mut tally = Tally::NONE;
    for value in [3.0, -7.5, 12.0] {
        tally.add(value);
        alone.record(2.0, &[value]);
    }
    let now = together.at(2.0);
    together.sensor.record_all(tally, now);
    together.sensor.record_all(Tally::NONE, now);
    for kind in [Kind::Avg, Kind::Max, Kind::Rate, Kind::CountRate, Kind::Total, Kind::CountTotal] {
        let expected = alone.measure(3.0, kind);
        together.expect(3.0, kind, expected);
    }
    together.expect(3.0, Kind::CountTotal, 3.0);
}

#[test]
fn clocks_that_were_looked_at_in_another_order_do_no_harm() {
    let mut bed = Bed::new();
    bed.record(5.0, &[1.0]);
    bed.record(4.0, &[1.0]);
    bed.expect(3.0, Kind::Rate, 0.2);
    bed.expect(24.999, Kind::CountTotal, 2.0);
    bed.expect(24.999, Kind::Avg, 1.0);
    assert!(bed.measure(25.0, Kind::Avg).is_nan());
}

#[test]
fn the_smallest_and_the_largest_windows() {
    let mut bed = Bed::with(1, Duration::ZERO);
    bed.record(1.0, &[1.0]);
    bed.record(2.0, &[1.0]);
    bed.expect(2.0, Kind::Rate, 0.0);
    assert!(bed.measure(2.0, Kind::Avg).is_nan(), "nothing is young enough");
    bed.expect(2.0, Kind::Total, 2.0);

    let mut bed = Bed::with(u32::MAX, Duration::MAX);
    bed.record(1.0, &[4.0]);
    bed.expect(3.0, Kind::Avg, 4.0);
    let rate = bed.measure(3.0, Kind::Rate);
    assert!(rate > 0.0 && rate < 1e-9, "{rate}");
}

#[test]
fn a_value_is_what_was_set_last() {
    let mut bed = Bed::new();
    bed.sensor.set(5.0);
    bed.sensor.set(3.0);
    bed.expect(100.0, Kind::Value, 3.0);
}
