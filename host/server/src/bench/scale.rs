//! `bench scale`: what a message costs a hub with many systems and routes, against the same with few.

use super::{median, relay};
use serde::Serialize;
use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Systems, and routes of types of their own to them, besides those that are measured.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Extra {
    pub systems: usize,
    pub routes: usize,
}

/// What a message cost with so many.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cost {
    #[serde(flatten)]
    pub extra: Extra,
    /// Median of the rounds, microseconds.
    pub cpu_us_per_message: f64,
    pub per_second: f64,
    /// Against the first.
    pub ratio: f64,
}

impl Extra {
    /// The folder of schemas, and what is to be added to the configuration.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn prepare(self, schemas: &Path, folder: &Path) -> anyhow::Result<(PathBuf, String)> {
        let mut config = String::new();
        if self.systems == 0 {
            return Ok((schemas.to_path_buf(), config));
        }
        let own = folder.join("schemas");
        std::fs::create_dir(&own)?;
        for entry in std::fs::read_dir(schemas)? {
            let entry = entry?;
            symlink(entry.path(), own.join(entry.file_name()))?;
        }
        for system in 0..self.systems {
            writeln!(config, "[systems.extra-{system}]\nadapter = \"translator\"")?;
            writeln!(config, "[systems.extra-{system}.grants]\nemit = [\"payment.rejected.v1\"]")?;
            writeln!(config, "[systems.extra-{system}.config.translations.\"payment.received.v1\"]")?;
            writeln!(config, "type = \"payment.rejected.v1\"\ndata = {{ account = \"/account\" }}")?;
        }
        for route in 0..self.routes {
            let to = route % self.systems;
            writeln!(config, "[[routes]]\ntypes = [\"measured.t{route}.v1\"]\nto = [\"extra-{to}\"]")?;
            let schema = own.join(format!("measured.t{route}"));
            std::fs::create_dir(&schema)?;
            std::fs::write(schema.join("v1.json"), "{\"type\": \"object\"}")?;
        }
        Ok((own, config))
    }
}

/// Takes every size by turns, so that what changes on the machine meets all of them.
///
/// # Errors
/// When the broker or the hub fails.
pub async fn scale(plan: &mut relay::RelayPlan, sizes: &[Extra]) -> anyhow::Result<Vec<Cost>> {
    let mut found = vec![(Vec::new(), Vec::new()); sizes.len()];
    for _ in 0..plan.rounds {
        for (extra, (cpu, rate)) in sizes.iter().zip(&mut found) {
            plan.extra = *extra;
            let side = relay::side(plan, true).await?;
            cpu.push(side.cpu_us_per_message);
            rate.push(side.per_second);
        }
    }
    let costs: Vec<_> = found.into_iter().map(|(cpu, rate)| (median(cpu), median(rate))).collect();
    let first = costs.first().map_or(f64::NAN, |cost| cost.0);
    let cost = |(extra, (cpu, rate)): (&Extra, (f64, f64))| Cost {
        extra: *extra,
        cpu_us_per_message: cpu,
        per_second: rate,
        ratio: cpu / first,
    };
    Ok(sizes.iter().zip(costs).map(cost).collect())
}
