//! Civil time from seconds and back (the proleptic Gregorian calendar, by eras of 400 years).

/// A moment as the clock's registers show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The full year.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
    /// 1 is Sunday.
    pub weekday: i64,
}

const DAY: i64 = 86_400;

impl Civil {
    /// From seconds since 1970.
    pub fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY);
        let of_day = seconds.rem_euclid(DAY);
        // Years begin in March here, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let of_era_year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * of_era_year + of_era_year / 4 - of_era_year / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: of_era_year + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * march_month + 2) / 5 + 1,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            weekday: (days + 4).rem_euclid(7) + 1,
        }
    }

    /// To seconds since 1970. Fields out of their range count on: day 31 of February is in March.
    pub fn to_unix(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, of_era_year) = (year.div_euclid(400), year.rem_euclid(400));
        let march_month = (self.month + 9) % 12;
        let of_year = (153 * march_month + 2) / 5 + self.day - 1;
        let of_era = of_era_year * 365 + of_era_year / 4 - of_era_year / 100 + of_year;
        let days = era * 146_097 + of_era - 719_468;
        days * DAY + self.hour * 3600 + self.minute * 60 + self.second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let leap = Civil { year: 2000, month: 2, day: 29, hour: 23, minute: 59, second: 58, weekday: 3 };
        assert_eq!(Civil::from_unix(951_868_798), leap);
        assert_eq!(leap.to_unix(), 951_868_798);
        let epoch = Civil { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, weekday: 5 };
        assert_eq!(Civil::from_unix(0), epoch);
        assert_eq!(Civil::from_unix(-1).year, 1969);
    }

    #[test]
    fn every_day_of_four_centuries_round_trips() {
        let mut weekday = 5;
        for day in 0..146_097 {
            let civil = Civil::from_unix(day * DAY + 3661);
            assert_eq!((civil.to_unix(), civil.weekday), (day * DAY + 3661, weekday));
            weekday = weekday % 7 + 1;
        }
    }
}
