"""What is printed, in 80 columns."""

import time

LINE = "{:<8}{:<22}{:<40}{:>6} s"
TEST = "{:<8}{:<62}{:>6} s"


class Report:
    """Of one kernel."""

    def __init__(self, name, jobs, verbose=False):
        self.name = name
        self.verbose = verbose
        self.left = {}
        for job in jobs:
            self.left.setdefault(job.step, set()).add(job)
        self.passed = self.flaky = self.failed = 0
        self.cpu = 0
        self.notes = []
        self.began_step = self.began = time.monotonic()
        self.of_step = [0, 0, 0]

    def head(self, release, accelerator):
        print(f"== kernel {self.name}: {release}, by {accelerator}", flush=True)

    def ended(self, job, status, tries, seconds, said):
        if self.verbose:
            print(TEST.format(self.name, f"{'ok' if status == 0 else 'FAILED':<7}{job.test:.54}", seconds), flush=True)
        if status == 0:
            if tries > 1:
                self.note(job, "\n".join([f"passed at try {tries}; before that:", *said]))
            self.count(job, passed=1, flaky=int(tries > 1))
        else:
            why = "it took too long" if status == 137 else f"it ended with {status}"
            self.lost(job, "\n".join([why, *said]))

    def lost(self, job, why):
        self.note(job, why)
        self.count(job, failed=1)

    def note(self, job, text):
        self.notes.append(f"{job.step.binary[1]}: {job.test}: {text}")

    def count(self, job, passed=0, flaky=0, failed=0):
        self.of_step = [a + b for a, b in zip(self.of_step, (passed, flaky, failed))]
        self.left[job.step].discard(job)
        if not self.left[job.step]:
            self.end_step(job.step)

    def end_step(self, step):
        (passed, flaky, failed), now = self.of_step, time.monotonic()
        result = f"{passed} passed" + (f" ({flaky} flaky)" if flaky else "") + (f", {failed} FAILED" if failed else "")
        print(LINE.format(self.name, step.name, result, round(now - self.began_step)), flush=True)
        self.passed, self.flaky, self.failed = self.passed + passed, self.flaky + flaky, self.failed + failed
        self.of_step, self.began_step = [0, 0, 0], now
        for note in self.notes:
            print("    " + note.replace("\n", "\n    | "), flush=True)
        self.notes = []

    def all_fail(self, why):
        """Of what is left."""
        print(f"{self.name}: {why}", flush=True)
        for step in [step for step, jobs in self.left.items() if jobs]:
            for job in list(self.left[step]):
                self.count(job, failed=1)
        return self.done()

    def done(self):
        self.seconds = time.monotonic() - self.began
        return self

    @staticmethod
    def total(reports, seconds):
        """The last line, which `.ci/test` adds up; the exit status."""
        for report in reports:
            result = f"{report.passed} passed, {report.failed} failed; CPU {report.cpu:.0f} s"
            print(LINE.format(report.name, "together", result, round(report.seconds)))
        passed, flaky, failed = (sum(getattr(r, what) for r in reports) for what in ("passed", "flaky", "failed"))
        print(f"kernels: {passed} passed ({flaky} flaky), {failed} failed, in {seconds:.0f} s", flush=True)
        return 0 if failed == 0 and passed > 0 else 1
