package main

import "bufio"

// dlqExportCmd is "worker dlq export".
type dlqExportCmd struct {
	dlqFilter
	Reveal bool `help:"With the jobs themselves, phone numbers and passcodes in clear. Asks first; that it was done is logged."`
	Yes    bool `help:"Don't ask."`
}

// Help is shown below the flags' own.
func (dlqExportCmd) Help() string {
	return `Writes one JSON object a line, oldest first. With --reveal "body" is the job as the producer wrote it ("body_base64" where it is not UTF-8).

  worker dlq export --since 24h > dead.jsonl`
}

// Run writes dead letters as JSON lines.
func (x *dlqExportCmd) Run(e *env, c *cli) error {
	d, err := c.openDLQ(e, x.filter)
	if err != nil {
		return err
	}
	defer d.close()
	if x.Reveal {
		if err := reveal(e, d.cfg, x.Yes, "the passcodes of the dead letters"+picked(d.filter)); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(e.stdout)
	n, err := x.write(e, d, out)
	if err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	say(e.stderr, "%s exported", countOf(n, "dead letter"))
	return nil
}

// exportedLetter is a dead letter with what its job says.
type exportedLetter struct {
	letter
	jobView
}

func (x *dlqExportCmd) write(e *env, d *dlq, out *bufio.Writer) (n int, err error) {
	lines := jsonLines(out)
	for s, err := range d.letters.OldestFirst(e.stop, d.filter) {
		if err != nil {
			return n, stopped(e.stop, err)
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
