//! `ReadingType`: what the numbers of a meter reading mean. Codes of espi.xsd, after IEC 61968-9 annex C.

/// As the feed states it; absent fields are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadingType {
    pub accumulation: Option<i64>,
    pub commodity: Option<i64>,
    pub flow: Option<i64>,
    pub interval_seconds: Option<i64>,
    pub multiplier: Option<i64>,
    pub unit: Option<i64>,
}

/// What the values of a reading type are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub quantity: &'static str,
    pub unit: &'static str,
    /// A value times 10 to this is in `unit`.
    pub power_of_ten: i32,
    /// The values are what registers show, not what an interval took.
    pub is_register: bool,
}

impl ReadingType {
    /// # Errors
    /// Which field has a meaning that no message carries.
    pub fn meaning(&self) -> Result<Meaning, String> {
        // UomType: 72 Wh, 73 VArh, 38 W, 63 VAr. FlowDirectionType: 1 forward, 4 net, 19 reverse.
        let (quantity, unit) = match (self.unit, self.flow) {
            (Some(72), Some(1)) => ("active-energy-forward", "kWh"),
            (Some(72), Some(4)) => ("active-energy-net", "kWh"),
            (Some(72), Some(19)) => ("active-energy-reverse", "kWh"),
            (Some(73), Some(1)) => ("reactive-energy-forward", "kvarh"),
            (Some(73), Some(19)) => ("reactive-energy-reverse", "kvarh"),
            (Some(38), Some(1)) => ("active-power", "kW"),
            (unit, flow) => return Err(format!("uom {} with flowDirection {}", shown(unit), shown(flow))),
        };
        // CommodityType: 1 and 2 electricity metered at secondary and primary voltage.
        if !matches!(self.commodity, None | Some(0..=2)) {
            return Err(format!("commodity {}, which is no electricity", shown(self.commodity)));
        }
        // AccumulationKind: 1 bulk quantity, 3 cumulative and 9 summation show a register; 4 is a difference, 6 indicating and
        // 12 instantaneous a power.
        let is_register = match self.accumulation {
            None | Some(0 | 4) if unit != "kW" => false,
            Some(1 | 3 | 9) if unit != "kW" => true,
            None | Some(0 | 6 | 12) if unit == "kW" => false,
            other => return Err(format!("accumulationBehaviour {} of {quantity}", shown(other))),
        };
        let multiplier = i32::try_from(self.multiplier.unwrap_or(0)).unwrap_or(i32::MAX);
        if !(-12..=12).contains(&multiplier) {
            return Err(format!("powerOfTenMultiplier {}", shown(self.multiplier)));
        }
        Ok(Meaning { quantity, unit, power_of_ten: multiplier - 3, is_register })
    }
}

/// `quality` of a QualityOfReading code; nothing for a value that is valid.
pub fn quality(code: i64) -> Option<&'static str> {
    match code {
        0 | 17..=19 => None,
        7 => Some("edited"),
        8 | 9 => Some("estimated"),
        10 => Some("doubtful"),
        11 => Some("derived"),
        12 => Some("projected"),
        14 => Some("raw"),
        _ => Some("other"),
    }
}

fn shown(code: Option<i64>) -> String {
    code.map_or_else(|| "absent".to_owned(), |code| code.to_string())
}
