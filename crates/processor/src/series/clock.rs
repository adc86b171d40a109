//! What a source's points are stamped with: the wall clock, held so that it never goes back.

use std::time::Duration;

use minicol_pdata::{Arrival, Timestamp};

use super::life::EARLIEST;

/// Set back by more than this, the wall clock is believed, and every series begins anew.
const BELIEVED: Duration = Duration::from_secs(5);
/// The two clocks of an [`Arrival`] are read one after the other. Less than this is no setting back, as long as stamps rise.
const BETWEEN_READINGS: Duration = Duration::from_millis(50);

/// Stamps for one source.
#[derive(Debug, Default)]
pub(super) struct StampClock {
    last: Option<Last>,
}

/// The latest stamp given.
#[derive(Clone, Copy, Debug)]
struct Last {
    monotonic: Duration,
    stamp: Timestamp,
    /// The wall clock was set back, and stamps go on by monotonic time.
    ahead: bool,
}

/// Stamps of one cycle, in the order they were asked for.
#[derive(Debug)]
pub(super) struct Stamps {
    pub(super) list: Vec<Timestamp>,
    /// The wall clock was set back by more than can be bridged.
    pub(super) set_back: bool,
}

impl StampClock {
    /// Stamps the arrivals of one cycle, whatever order they are in.
    pub(super) fn stamps(&mut self, arrivals: &[Arrival]) -> Stamps {
        let mut order: Vec<usize> = (0..arrivals.len()).collect();
        order.sort_by_key(|&at| arrivals[at].monotonic);
        let mut stamps = Stamps { list: vec![Timestamp::UNSET; arrivals.len()], set_back: false };
        for (nth, &at) in order.iter().enumerate() {
            // A clock that stands at the epoch, or before it, has not been set yet. Zero would mean that there is no stamp.
            let wall = arrivals[at].wall.max(EARLIEST);
            let (stamp, set_back) = self.read(Arrival { wall, ..arrivals[at] });
            stamps.list[at] = stamp;
            if set_back {
                // What came earlier in the cycle came under the old clock: told anew by how long before it was.
                stamps.set_back = true;
                for &earlier in &order[..nth] {
                    stamps.list[earlier] = stamp - arrivals[at].monotonic.saturating_sub(arrivals[earlier].monotonic);
                }
            }
        }
        stamps
    }

    /// Stamps one arrival; true where the wall clock was set back by more than can be bridged.
    fn read(&mut self, arrival: Arrival) -> (Timestamp, bool) {
        let believed = |stamp| Last { monotonic: arrival.monotonic, stamp, ahead: false };
        let Some(last) = self.last else {
            self.last = Some(believed(arrival.wall));
            return (arrival.wall, false);
        };
        if arrival.monotonic < last.monotonic {
            // It came late, in a batch of another receiver: it tells nothing of what has become of the clock since.
            return (arrival.wall.min(last.stamp), false);
        }
        let expected = last.stamp + arrival.monotonic.saturating_sub(last.monotonic);
        let behind = expected.since(arrival.wall);
        let (next, set_back) = if behind.is_zero() {
            (believed(arrival.wall), false)
        } else if behind > BELIEVED {
            (believed(arrival.wall), true)
        } else if !last.ahead && behind < BETWEEN_READINGS && arrival.wall > last.stamp {
            (believed(arrival.wall), false)
        } else {
            (Last { monotonic: arrival.monotonic, stamp: expected, ahead: true }, false)
        };
        self.last = Some(next);
        (next.stamp, set_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: f64, monotonic: f64) -> Arrival {
        Arrival { wall: Timestamp::from_seconds(wall).unwrap(), monotonic: Duration::from_secs_f64(monotonic) }
    }

    fn seconds(clock: &mut StampClock, arrivals: &[Arrival]) -> (Vec<f64>, bool) {
        let stamps = clock.stamps(arrivals);
        (stamps.list.iter().map(|stamp| stamp.as_seconds()).collect(), stamps.set_back)
    }

    #[test]
    fn set_back_a_little_stamps_go_on_by_monotonic_time_until_the_wall_clock_has_caught_up() {
        let mut clock = StampClock::default();
        assert_eq!(seconds(&mut clock, &[at(1000.0, 0.0)]), (vec![1000.0], false));
        assert_eq!(seconds(&mut clock, &[at(1026.0, 30.0)]), (vec![1030.0], false));
        assert_eq!(seconds(&mut clock, &[at(1056.0, 60.0)]), (vec![1060.0], false));
        assert_eq!(seconds(&mut clock, &[at(1090.5, 90.0)]), (vec![1090.5], false));
        assert_eq!(seconds(&mut clock, &[at(1120.5, 120.0)]), (vec![1120.5], false));
    }

    #[test]
    fn small_steps_back_that_add_up_are_a_large_one() {
        let mut clock = StampClock::default();
        assert_eq!(seconds(&mut clock, &[at(1000.0, 0.0)]), (vec![1000.0], false));
        assert_eq!(seconds(&mut clock, &[at(1007.0, 10.0)]), (vec![1010.0], false));
        assert_eq!(seconds(&mut clock, &[at(1014.0, 20.0)]), (vec![1014.0], true));
        assert_eq!(seconds(&mut clock, &[at(1024.0, 30.0)]), (vec![1024.0], false));
    }

    #[test]
    fn a_clock_set_back_within_a_cycle_gives_the_whole_cycle_new_stamps() {
        let mut clock = StampClock::default();
        assert_eq!(seconds(&mut clock, &[at(1000.0, 0.0)]), (vec![1000.0], false));
        assert_eq!(seconds(&mut clock, &[at(930.5, 30.5), at(1030.0, 30.0)]), (vec![930.5, 930.0], true));
    }

    #[test]
    fn what_passes_between_two_readings_is_no_setting_back() {
        let mut clock = StampClock::default();
        assert_eq!(seconds(&mut clock, &[at(1000.0, 0.0)]), (vec![1000.0], false));
        assert_eq!(seconds(&mut clock, &[at(1029.99, 30.0)]), (vec![1029.99], false));
        assert_eq!(seconds(&mut clock, &[at(1059.99, 60.0)]), (vec![1059.99], false));
    }

    #[test]
    fn what_comes_late_is_no_setting_back() {
        let mut clock = StampClock::default();
        assert_eq!(seconds(&mut clock, &[at(1020.0, 20.0)]), (vec![1020.0], false));
        assert_eq!(seconds(&mut clock, &[at(1001.0, 1.0), at(1021.0, 21.0)]), (vec![1001.0, 1021.0], false));
        assert_eq!(seconds(&mut clock, &[at(920.0, 30.0)]), (vec![920.0], true));
        assert_eq!(
            seconds(&mut clock, &[at(1029.0, 29.0)]),
            (vec![920.0], false),
            "the old clock's time is not believed"
        );
        assert_eq!(seconds(&mut clock, &[at(930.0, 40.0)]), (vec![930.0], false));
    }

    #[test]
    fn forwards_the_wall_clock_is_always_believed() {
        let mut clock = StampClock::default();
        assert_eq!(seconds(&mut clock, &[at(1000.0, 0.0)]), (vec![1000.0], false));
        assert_eq!(seconds(&mut clock, &[at(9000.0, 30.0)]), (vec![9000.0], false));
    }
}
