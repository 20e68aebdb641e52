//! The tables' history, in the binary: the files of `migrations/`, each under its number. A file that was released does not
//! change any more: databases know its checksum.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! migrations {
    ($dialect:literal: $($version:literal $name:literal),+) => {
        [$(($version, $name, include_str!(concat!("../../migrations/", $dialect, "/", $version, "_", $name, ".sql")))),+]
    };
}

type File = (&'static str, &'static str, &'static str);

const SQLITE: [File; 7] = migrations!("sqlite":
    "0001" "journal", "0002" "entries", "0003" "failing", "0004" "clock", "0005" "stated_by", "0006" "bounds", "0007" "desk");
const POSTGRES: [File; 7] = migrations!("postgres":
    "0001" "journal", "0002" "entries", "0003" "failing", "0004" "clock", "0005" "stated_by", "0006" "bounds", "0007" "desk");

pub fn sqlite() -> Migrator {
    migrator(&SQLITE)
}

pub fn postgres() -> Migrator {
    migrator(&POSTGRES)
}

/// Named as sqlx itself would name these files, so that databases of earlier versions know them.
fn migrator(files: &[File]) -> Migrator {
    let migration = |(version, name, sql): &File| {
        let description = name.replace('_', " ").into();
        let version = version.parse().unwrap_or_default();
        Migration::new(version, description, MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[tokio::test]
    async fn all_files_as_sqlx_reads_them() {
        for (ours, folder) in [(sqlite(), "sqlite"), (postgres(), "postgres")] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
            let read = Migrator::new(folder).await.unwrap_or_else(|e| unreachable!("{e}"));
            let shown = |m: &Migration| (m.version, m.description.clone(), m.migration_type, m.checksum.clone());
            assert!(ours.iter().all(|m| m.version > 0));
            assert_eq!(ours.iter().map(shown).collect::<Vec<_>>(), read.iter().map(shown).collect::<Vec<_>>());
        }
    }
}
