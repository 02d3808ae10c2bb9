//! The container image: no engine is here, so its steps are run one by one, as the Containerfile gives them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postern_tests::foreign::run;
use postern_tests::{machine, program};

use crate::file;

/// The instructions of the Containerfile; continuation lines joined.
fn instructions() -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(file("packaging/oci/Containerfile"))?.replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, rest) = line.split_once(' ').context(line.to_owned())?;
            Ok((name.to_owned(), rest.trim().to_owned()))
        })
        .collect()
}

fn all(name: &str) -> Result<Vec<String>> {
    Ok(instructions()?.into_iter().filter(|(found, _)| found == name).map(|(_, rest)| rest).collect())
}

fn only(name: &str) -> Result<String> {
    let found = all(name)?;
    ensure!(found.len() == 1, "{name}: {found:?}");
    found.into_iter().next().context("one")
}

/// A list in its JSON form, as the end of an instruction: a command without a shell.
fn exec_form(text: &str) -> Result<Vec<String>> {
    let at = text.find('[').with_context(|| format!("{text} would need a shell"))?;
    Ok(serde_json::from_str(&text[at..])?)
}

/// Goal: what the tests below run is all that building the image runs, and the image runs as nobody special.
#[test]
fn the_recipe_has_two_steps_and_no_root() -> Result<()> {
    assert_eq!(all("FROM")?.len(), 2);
    assert_eq!(all("RUN")?, ["packaging/oci/stage /image", "/usr/libexec/postern-gateway/prepare"]);
    assert_eq!(all("COPY")?, [". .", "--from=build /image/ /"]);
    assert!(all("ADD")?.is_empty() && all("SHELL")?.is_empty());
    let (user, group) =
        only("USER")?.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).context("USER")?;
    assert!(user.parse::<u32>()? > 0 && group.parse::<u32>()? > 0);
    let position = |name: &str| instructions().map(|all| all.iter().rposition(|(found, _)| found == name));
    assert!(position("USER")? > position("RUN")?, "steps run before that user is taken");
    let volumes = exec_form(&only("VOLUME")?)?;
    let prepare = std::fs::read_to_string(file("packaging/oci/prepare"))?;
    assert!(volumes.iter().all(|volume| prepare.contains(volume.as_str())), "each belongs to the user");
    let ignored = std::fs::read_to_string(file(".dockerignore"))?;
    assert!(ignored.lines().any(|line| line == "target") && ignored.lines().any(|line| line == "data"));
    // The compiler that builds it is the one that the workspace asks for.
    let manifest = std::fs::read_to_string(file("Cargo.toml"))?;
    let rust =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).context("rust-version")?;
    assert!(all("FROM")?[0].contains(&format!("rust:{}-", rust.trim_matches('"'))));
    Ok(())
}

/// Goal: no image is built whose console has no pages, and the page tells to make them first.
/// Method: the step in a checkout of which nothing else is there.
#[test]
fn an_image_without_pages_is_not_built() -> Result<()> {
    let checkout = tempfile::tempdir()?;
    let steps = checkout.path().join("packaging/oci");
    std::fs::create_dir_all(&steps)?;
    std::fs::copy(file("packaging/oci/stage"), steps.join("stage"))?;
    let refused = Command::new(steps.join("stage")).arg(checkout.path().join("image")).output()?;
    let said = String::from_utf8(refused.stderr)?;
    assert!(!refused.status.success() && said.contains("run make webui first"), "{said}");
    let page = std::fs::read_to_string(file("docs/installation.md"))?;
    let container = page.split("## Container").nth(1).and_then(|rest| rest.split("## ").next());
    assert!(container.is_some_and(|section| section.contains("make webui")));
    Ok(())
}

/// In namespaces of its own and without a capability, as engines run it; they let everybody bind low ports there.
const CONTAINED: &str = r#"
root=$1 user=$2
shift 2
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
mount -t proc proc "$root/proc"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
"#;

/// An image's root directory, its command running or not.
struct Container {
    root: tempfile::TempDir,
    running: Option<Child>,
}

impl Container {
    /// The image that the steps make, with the program of this build.
    fn made() -> Result<Self> {
        let root = tempfile::tempdir()?;
        machine::unpack(root.path())?;
        let program = program::binary("postern-gateway")?;
        run(Command::new(file("packaging/oci/stage")).arg(root.path()).arg(program))?;
        run(Command::new("chroot").arg(root.path()).arg("/usr/libexec/postern-gateway/prepare"))?;
        Ok(Self { root, running: None })
    }

    /// A command inside, as the image's user.
    fn command(&self, command: &[String]) -> Result<Command> {
        let mut chroot = Command::new("chroot");
        chroot.arg(format!("--userspec={}", only("USER")?)).arg("--groups=");
        chroot.arg(self.root.path()).args(command);
        Ok(chroot)
    }

    /// Runs the image's own command.
    fn start(&mut self) -> Result<()> {
        let command = [exec_form(&only("ENTRYPOINT")?)?, exec_form(&only("CMD")?)?].concat();
        let mut unshare = Command::new("unshare");
        unshare.args(["--fork", "--kill-child", "--pid", "--mount", "--net", "--ipc", "--uts"]);
        unshare.args(["sh", "-ec", CONTAINED, "sh"]).arg(self.root.path()).arg(only("USER")?).args(command);
        self.running = Some(unshare.stdin(Stdio::null()).spawn()?);
        Ok(())
    }

    /// The image's command, as this machine numbers it.
    fn first(&self) -> Result<String> {
        let id = self.running.as_ref().context("it does not run")?.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        children.split_whitespace().next().map(str::to_owned).context("it has ended")
    }

    fn is_healthy(&self) -> Result<bool> {
        let health = exec_form(&only("HEALTHCHECK")?)?;
        Ok(self.command(&health)?.output()?.status.success())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.kill();
            let _ = running.wait();
        }
    }
}

/// Goal: the image that the steps make starts, is well by its own health check and nobody special, and ends when it is told to.
#[test]
fn the_image_starts_and_is_healthy() -> Result<()> {
    if !machine::is_possible() {
        return Ok(());
    }
    let mut container = Container::made()?;
    assert!(!container.is_healthy()?, "nothing runs yet");
    let init = ["--config", "/etc/postern/gateway.toml", "init", "--email-domain", "gateway.example.com"];
    let init = [exec_form(&only("ENTRYPOINT")?)?, init.map(str::to_owned).to_vec()].concat();
    run(&mut container.command(&init)?)?;
    container.start()?;
    let start = Instant::now();
    while !container.is_healthy()? {
        ensure!(start.elapsed() < Duration::from_secs(60), "it did not get well");
        std::thread::sleep(Duration::from_millis(50));
    }
    let first = container.first()?;
    let status = std::fs::read_to_string(format!("/proc/{first}/status"))?;
    assert!(
        status.contains("\nUid:\t10001\t10001\t") && status.contains("\nCapEff:\t0000000000000000\n"),
        "{status}"
    );
    assert_eq!(only("STOPSIGNAL")?, "SIGTERM");
    run(Command::new("kill").args(["-TERM", &first]))?;
    assert!(container.running.as_mut().context("it runs")?.wait()?.success());
    Ok(())
}

/// Goal: whoever opens ports by docs/firewall.md opens each that the gateway or its image has, and no other.
#[test]
fn every_port_is_in_the_firewalls_table() -> Result<()> {
    let page = std::fs::read_to_string(file("docs/firewall.md"))?;
    let section =
        page.split("## In,").nth(1).and_then(|rest| rest.split("## Out,").next()).context("the table")?;
    let rows =
        section.lines().filter_map(|line| line.strip_prefix("| ")?.split("/tcp").next()?.parse::<u16>().ok());
    let mut documented: Vec<u16> = rows.collect();
    let exposed: Vec<u16> = only("EXPOSE")?.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let config = std::fs::read_to_string(file("config/gateway.toml"))?;
    let defaults = config
        .lines()
        .filter_map(|line| line.strip_prefix("#= ")?.split("0.0.0.0:").nth(1)?.split('"').next());
    for port in defaults {
        assert!(documented.contains(&port.parse()?), "{port} is a default and not in docs/firewall.md");
    }
    // Metrics are off by default, and in clear: an image does not offer them.
    documented.retain(|port| *port != 9464);
    documented.sort_unstable();
    assert_eq!(documented, exposed);
    Ok(())
}
