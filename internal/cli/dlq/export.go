package dlq

import (
	"bufio"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
)

// exportCmd is "worker dlq export".
type exportCmd struct {
	filterFlags
	Reveal bool `help:"With the jobs themselves, phone numbers and passcodes in clear. Asks first; that it was done is logged."`
	Yes    bool `help:"Don't ask."`
}

// Help is shown below the flags' own.
func (exportCmd) Help() string {
	return `Writes one JSON object a line, oldest first. With --reveal "body" is the job as the producer wrote it ("body_base64" where it is not UTF-8).

  worker dlq export --since 24h > dead.jsonl`
}

// Run writes dead letters as JSON lines.
func (x *exportCmd) Run(e *command.Env) error {
	d, err := open(e, x.filter)
	if err != nil {
		return err
	}
	defer d.close()
	if x.Reveal {
		if err := reveal(e, d.cfg, x.Yes, "the passcodes of the dead letters"+picked(d.filter)); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(e.Stdout)
	n, err := x.write(e, d, out)
	if err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	show.Say(e.Stderr, "%s exported", show.CountOf(n, "dead letter"))
	return nil
}

// exportedLetter is a dead letter with what its job says.
type exportedLetter struct {
	letter
	jobView
}

func (x *exportCmd) write(e *command.Env, d *session, out *bufio.Writer) (n int, err error) {
	lines := show.JSONLines(out)
	for s, err := range d.letters.OldestFirst(e.Stop, d.filter) {
		if err != nil {
			return n, command.Stopped(e.Stop, err)
		}
		one := exportedLetter{letter: d.letter(s)}
		one.jobView = viewJob(one.job, s, x.Reveal)
		if err := lines.Encode(one); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
