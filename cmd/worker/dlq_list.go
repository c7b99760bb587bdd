package main

import (
	"bufio"
	"errors"
	"fmt"
	"text/tabwriter"
)

// screenful is how many dead letters a terminal is given unasked.
const screenful = 50

// dlqListCmd is "worker dlq list".
type dlqListCmd struct {
	dlqFilter
	Limit   int  `placeholder:"N" help:"At most so many; 0 is all. On a terminal 50 where left out, elsewhere all."  default:"-1"`
	Summary bool `help:"Count them by reason instead."`
	JSON    bool `name:"json" help:"One JSON object a line."`
}

// Help is shown below the flags' own.
func (dlqListCmd) Help() string {
	return `Looking takes nothing away. Passcodes are never shown, phone numbers masked.

  worker dlq list --summary
  worker dlq list --reason config --since 2h`
}

// Run lists dead letters.
func (l *dlqListCmd) Run(e *env, c *cli) error {
	d, err := c.openDLQ(e, l.filter)
	if err != nil {
		return err
	}
	defer d.close()
	if l.Summary {
		return l.summarise(e, d)
	}
	limit := l.Limit
	if limit < 0 && !l.JSON && isTerminal(e.stdout) {
		limit = screenful
	}
	return l.list(e, d, limit)
}

// alignedRows is how many rows of a table are aligned with one another.
const alignedRows = 512

func (l *dlqListCmd) list(e *env, d *dlq, limit int) error {
	out := bufio.NewWriter(e.stdout)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	lines := jsonLines(out)
	shown, more := 0, false
	for s, err := range d.letters.NewestFirst(e.stop, d.filter) {
		if err != nil {
			return stopped(e.stop, err)
		}
		if limit > 0 && shown == limit {
			more = true
			break
		}
		one := d.letter(s)
		if l.JSON {
			err = lines.Encode(one)
		} else {
			if shown == 0 {
				fmt.Fprintln(table, "AGE\tREQUEST\tREASON\tERROR CODE\tPHONE\tATTEMPTS\tREPLAYS\tEXPIRES")
			}
			_, err = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", span(d.now.Sub(one.DeadAt)),
				one.ID, one.Reason, codeOf(s), orDash(one.Phone), one.Attempts, one.Replays, one.expiry(d.now))
		}
		shown++
		if err == nil && shown%alignedRows == 0 {
			err = errors.Join(table.Flush(), out.Flush())
		}
		if err != nil {
			return err
		}
	}
	if err := errors.Join(table.Flush(), out.Flush()); err != nil {
		return err
	}
	switch {
	case l.JSON:
	case shown == 0:
		say(e.stderr, "no dead letters%s", picked(d.filter))
	case more:
		say(e.stderr, "the newest %d; --limit 0 lists all, --summary counts them", shown)
	default:
		say(e.stderr, "%s; \"worker dlq show REQUEST\" tells all about one", countOf(shown, "dead letter"))
	}
	return nil
}
