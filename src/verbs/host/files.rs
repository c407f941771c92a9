//! Every file that a configuration names, and whether the unit of lb can use it.

use std::path::{Path, PathBuf};

use lb_core::config::{Certificate, Config, Mode, Probe, Tracked};
use nix::errno::Errno;
use nix::unistd::AccessFlags;

use super::eyes::may;
use super::unit::Unit;
use crate::verbs::finding::{Finding, finding, problem};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Read,
    Run,
    Write,
}

pub struct Named {
    what: String,
    path: PathBuf,
    need: Need,
}

/// What it names; programs that are looked for in PATH are left out.
pub fn named(config: &Config) -> Vec<Named> {
    let mut all = Vec::new();
    let mut add = |what: &str, path: &Path, need| {
        if need != Need::Run || path.components().count() > 1 {
            all.push(Named { what: what.to_owned(), path: path.to_owned(), need });
        }
    };
    for frontend in &config.frontends {
        let Mode::Http(http) = &frontend.mode else { continue };
        let Some(tls) = &http.tls else { continue };
        let what = format!("frontend {}", frontend.name);
        tls.certificates.iter().flat_map(pair).for_each(|file| add(&what, file, Need::Read));
        tls.client_auth.iter().for_each(|auth| add(&what, &auth.ca, Need::Read));
    }
    for pool in &config.pools {
        let what = format!("pool {}", pool.name);
        if let Some(tls) = &pool.tls {
            tls.ca.iter().for_each(|ca| add(&what, ca, Need::Read));
            tls.client.iter().flat_map(pair).for_each(|file| add(&what, file, Need::Read));
        }
        if let Some(Probe::Script(script)) = pool.check.as_ref().map(|check| &check.probe) {
            script.command.iter().take(1).for_each(|program| add(&what, program.as_ref(), Need::Run));
        }
    }
    for router in &config.vrrp {
        let what = format!("virtual router {}", router.name);
        router.auth.keys().iter().for_each(|key| add(&what, &key.secret.0, Need::Read));
        router.notify.iter().take(1).for_each(|program| add(&what, program.as_ref(), Need::Run));
        let scripts = router.track.iter().filter_map(|track| match &track.what {
            Tracked::Script(script) => script.command.first(),
            _ => None,
        });
        scripts.for_each(|program| add(&what, program.as_ref(), Need::Run));
    }
    config.sync.secret.iter().for_each(|secret| add("sync", &secret.0, Need::Read));
    let access = config.log.access.as_ref().and_then(|access| access.path.as_ref());
    access.iter().for_each(|path| add("access log", path, Need::Write));
    add("admin socket", &config.admin.socket, Need::Write);
    all
}

fn pair(files: &Certificate) -> [&Path; 2] {
    [&files.cert, &files.key]
}

impl Named {
    /// The configuration itself.
    pub fn configuration(path: &Path) -> Self {
        Self { what: "configuration".to_owned(), path: path.to_owned(), need: Need::Read }
    }

    fn problem(&self, why: &str, fix: String) -> Finding {
        finding(&*self.what, Err(problem(format!("{} {why}", self.path.display())))).or_fix(fix)
    }
}

/// Found from where one happens to stand, and by the unit from the root.
pub fn relative(file: &Named) -> Option<Finding> {
    let why = "is relative, and lb.service starts in /";
    file.path.is_relative().then(|| file.problem(why, "the whole path".to_owned()))
}

/// What the unit's sandbox keeps from it, whoever may use it elsewhere.
pub fn hidden(file: &Named, unit: &Unit) -> Option<Finding> {
    if let Some(setting) = unit.hides(&file.path) {
        let why = format!("is hidden from lb.service by {setting}=");
        return Some(file.problem(&why, "a place below /etc/lb".to_owned()));
    }
    let is_read_only = file.need == Need::Write && !unit.lets_write(&file.path);
    is_read_only.then(|| {
        let folder = file.path.parent().unwrap_or(&file.path).display();
        let fix = format!("a place below /var/log/lb or /run/lb, or ReadWritePaths={folder} by systemctl edit lb");
        file.problem("is on a read-only file system for lb.service", fix)
    })
}

/// What the rights of files refuse who looks, which is the unit's user. A file that is missing is told elsewhere.
pub fn refused(file: &Named, unit: &Unit) -> Option<Finding> {
    let (place, right) = match file.need {
        Need::Write => unwritable(&file.path, unit)?,
        need => closed(&file.path).or_else(|| forbidden(&file.path, need))?,
    };
    let verb = match file.need {
        Need::Read => "read",
        Need::Run => "run",
        Need::Write => "written",
    };
    let user = unit.user();
    let why = format!("cannot be {verb} by the user {user}, as whom lb.service runs lb");
    Some(file.problem(&why, format!("chgrp {user} {place} && chmod g+{right} {place}", place = place.display())))
}

/// What cannot be written to: the file, or where it is missing, the directory that it would be made in.
fn unwritable(path: &Path, unit: &Unit) -> Option<(PathBuf, char)> {
    let is_missing = |place: &Path| may(place, AccessFlags::F_OK) == Err(Errno::ENOENT);
    // systemd makes the directory before lb starts, and hands it over; files that are in it stay whose they are.
    if unit.makes_place_for(path) && is_missing(path) {
        return None;
    }
    if let Some(folder) = closed(path) {
        return Some(folder);
    }
    let place = path.ancestors().find(|place| !is_missing(place))?;
    (may(place, AccessFlags::W_OK) == Err(Errno::EACCES)).then(|| (place.to_owned(), 'w'))
}

/// The first directory on the way that refuses who looks.
fn closed(path: &Path) -> Option<(PathBuf, char)> {
    let mut folders: Vec<_> = path.ancestors().skip(1).collect();
    folders.reverse();
    let closed = folders.into_iter().find(|folder| may(folder, AccessFlags::X_OK) == Err(Errno::EACCES));
    closed.map(|folder| (folder.to_owned(), 'x'))
}

/// The file that refuses who looks, and the right that is lacking.
fn forbidden(path: &Path, need: Need) -> Option<(PathBuf, char)> {
    let (flag, lacking) = if need == Need::Run { (AccessFlags::X_OK, 'x') } else { (AccessFlags::R_OK, 'r') };
    (may(path, flag) == Err(Errno::EACCES)).then(|| (path.to_owned(), lacking))
}

#[cfg(test)]
mod tests {
    use super::super::unit::tests::{SHOWN, unit};
    use super::*;

    fn named(path: &str, need: Need) -> Named {
        Named { what: "file".to_owned(), path: path.into(), need }
    }

    #[test]
    fn a_relative_path_is_another_one_for_the_unit() {
        let said = relative(&named("tls/site.pem", Need::Read)).map(|found| found.to_string()).unwrap_or_default();
        assert!(said.contains("tls/site.pem is relative, and lb.service starts in /"), "{said}");
        assert!(relative(&named("/etc/lb/tls/site.pem", Need::Read)).is_none());
    }

    #[test]
    fn the_unit_makes_no_directory_below_those_that_systemd_makes() {
        let unit = unit(SHOWN);
        assert!(unit.makes_place_for(Path::new("/var/log/lb/access.log")));
        assert!(!unit.makes_place_for(Path::new("/var/log/lb/web/access.log")));
        assert!(!unit.makes_place_for(Path::new("/var/log/lb")));
    }
}
