//! What a value of a meter means: the codes of IEC 61968-9, annex C, which NAESB ESPI shares.

/// Codes of a reading type; absent ones are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadingCodes {
    /// accumulation, accumulationBehaviour.
    pub accumulation: Option<i64>,
    pub commodity: Option<i64>,
    /// flowDirection.
    pub flow: Option<i64>,
    /// multiplier, powerOfTenMultiplier.
    pub multiplier: Option<i64>,
    /// unit, uom.
    pub unit: Option<i64>,
    /// measurementKind, kind.
    pub kind: Option<i64>,
    /// aggregate, dataQualifier.
    pub aggregate: Option<i64>,
    /// phases, phase.
    pub phases: Option<i64>,
}

/// Powers of ten that there is a prefix for.
const MULTIPLIERS: [i64; 13] = [-12, -9, -6, -3, -2, -1, 0, 1, 2, 3, 6, 9, 12];

/// What values of a reading type are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// `quantity` and `unit` of the canonical messages.
    pub quantity: &'static str,
    pub unit: &'static str,
    /// A value times 10 to this is in `unit`.
    pub power_of_ten: i32,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What a register shows.
    Register,
    /// What an interval took.
    Interval,
    /// A power at a moment, or over an interval.
    Instant,
    /// Energy, without saying whether of a register or an interval.
    Unstated,
}

impl ReadingCodes {
    /// # Errors
    /// Which code has a meaning that no message carries, for a person.
    pub fn meaning(&self) -> Result<Meaning, String> {
        // unit: 72 Wh, 73 VArh, 38 W. flowDirection: 1 forward, 4 net, 19 reverse.
        let (quantity, unit) = match (self.unit, self.flow) {
            (Some(72), Some(1)) => ("active-energy-forward", "kWh"),
            (Some(72), Some(4)) => ("active-energy-net", "kWh"),
            (Some(72), Some(19)) => ("active-energy-reverse", "kWh"),
            (Some(73), Some(1)) => ("reactive-energy-forward", "kvarh"),
            (Some(73), Some(19)) => ("reactive-energy-reverse", "kvarh"),
            (Some(38), Some(1)) => ("active-power", "kW"),
            (unit, flow) => return Err(format!("unit {} with flow direction {}", shown(unit), shown(flow))),
        };
        // measurementKind: 12 energy; 37 power, 8 demand.
        let of_kind = if unit == "kW" { [0, 8, 37] } else { [0, 8, 12] };
        if self.kind.is_some_and(|kind| !of_kind.contains(&kind)) {
            return Err(format!("a measurement of kind {} in unit {}", shown(self.kind), shown(self.unit)));
        }
        // aggregate: 12 normal, 26 sum; others are maxima, averages and the like.
        if !matches!(self.aggregate, None | Some(0 | 12 | 26)) {
            return Err(format!("aggregate {} of {quantity}", shown(self.aggregate)));
        }
        // phases: 224 and 225 all three, 768 and 769 both halves of a split phase. Any other is of a part of the supply.
        if !matches!(self.phases, None | Some(0 | 224 | 225 | 768 | 769)) {
            return Err(format!("{quantity} of the phases {} alone", shown(self.phases)));
        }
        // commodity: 1 and 2 electricity metered at secondary and primary voltage.
        if !matches!(self.commodity, None | Some(0..=2)) {
            return Err(format!("commodity {}, which is no electricity", shown(self.commodity)));
        }
        // accumulation: 1 bulk quantity, 3 cumulative, 9 summation; 4 delta; 6 indicating, 12 instantaneous.
        let kind = match (self.accumulation, unit == "kW") {
            (None | Some(0 | 6 | 12), true) => Kind::Instant,
            (None | Some(0), false) => Kind::Unstated,
            (Some(1 | 3 | 9), false) => Kind::Register,
            (Some(4), false) => Kind::Interval,
            (other, _) => return Err(format!("accumulation {} of {quantity}", shown(other))),
        };
        let multiplier = self.multiplier.unwrap_or(0);
        if !MULTIPLIERS.contains(&multiplier) {
            return Err(format!("a multiplier of ten to the power {multiplier}"));
        }
        let multiplier = i32::try_from(multiplier).unwrap_or_default();
        Ok(Meaning { quantity, unit, power_of_ten: multiplier - 3, kind })
    }
}

/// # Errors
/// Which of these codes, each with its name, makes the value a part of the energy, or no energy at all.
pub fn none_of(parts: &[(&str, Option<i64>)]) -> Result<(), String> {
    let part = parts.iter().find_map(|(name, code)| Some((name, code.filter(|code| *code != 0)?)));
    part.map_or(Ok(()), |(name, code)| Err(format!("{name} {code}, which sets the value apart from the whole")))
}

/// An interval's length as ISO 8601, the longest unit that fits: `PT15M`, `PT1H`, `P1D`; nothing where it is no whole minutes,
/// or longer than the messages have it.
pub fn interval_text(seconds: i64) -> Option<String> {
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match minutes {
        _ if rest != 0 || minutes <= 0 => None,
        _ if minutes % 1440 == 0 => (minutes / 1440 <= 999).then(|| format!("P{}D", minutes / 1440)),
        _ if minutes % 60 == 0 => (minutes / 60 <= 9999).then(|| format!("PT{}H", minutes / 60)),
        _ => (minutes <= 9999).then(|| format!("PT{minutes}M")),
    }
}

fn shown(code: Option<i64>) -> String {
    code.map_or_else(|| "absent".to_owned(), |code| code.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meanings() {
        let codes = |unit, flow, accumulation| ReadingCodes {
            accumulation: Some(accumulation),
            commodity: Some(1),
            flow: Some(flow),
            multiplier: Some(0),
            unit: Some(unit),
            ..ReadingCodes::default()
        };
        let meaning = codes(72, 19, 1).meaning().unwrap();
        assert_eq!((meaning.quantity, meaning.unit, meaning.power_of_ten), ("active-energy-reverse", "kWh", -3));
        assert_eq!(meaning.kind, Kind::Register);
        assert_eq!(codes(73, 1, 4).meaning().map(|meaning| meaning.kind), Ok(Kind::Interval));
        assert_eq!(codes(72, 4, 0).meaning().map(|meaning| meaning.kind), Ok(Kind::Unstated));
        assert_eq!(codes(38, 1, 12).meaning().map(|meaning| meaning.kind), Ok(Kind::Instant));
        for refused in [
            codes(23, 1, 4),
            codes(72, 0, 4),
            codes(38, 1, 4),
            codes(72, 1, 12),
            ReadingCodes { commodity: Some(7), ..codes(72, 1, 4) },
            ReadingCodes { multiplier: Some(13), ..codes(72, 1, 4) },
            ReadingCodes { multiplier: Some(4), ..codes(72, 1, 4) },
            ReadingCodes { kind: Some(37), ..codes(72, 1, 4) },
            ReadingCodes { aggregate: Some(8), ..codes(72, 1, 4) },
            ReadingCodes { phases: Some(128), ..codes(72, 1, 4) },
            ReadingCodes::default(),
        ] {
            assert!(refused.meaning().is_err(), "{refused:?}");
        }
    }

    #[test]
    fn intervals() {
        for (seconds, text) in
            [(900, "PT15M"), (3600, "PT1H"), (5400, "PT90M"), (86_400, "P1D"), (999 * 86_400, "P999D")]
        {
            assert_eq!(interval_text(seconds).as_deref(), Some(text));
        }
        for seconds in [0, -60, 90, 1000 * 86_400, i64::MAX] {
            assert_eq!(interval_text(seconds), None, "{seconds}");
        }
    }
}
