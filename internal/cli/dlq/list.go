package dlq

import (
	"bufio"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
)

// screenful is how many dead letters a terminal is given unasked.
const screenful = 50

// listCmd is "worker dlq list".
type listCmd struct {
	filterFlags
	Limit   int  `placeholder:"N" help:"At most so many; 0 is all. On a terminal 50 where left out, elsewhere all."  default:"-1"`
	Summary bool `help:"Count them by reason instead."`
	JSON    bool `name:"json" help:"One JSON object a line."`
}

// Help is shown below the flags' own.
func (listCmd) Help() string {
	return `Looking takes nothing away. Passcodes are never shown, phone numbers masked.

  worker dlq list --summary
  worker dlq list --reason config --since 2h`
}

// Run lists dead letters.
func (l *listCmd) Run(e *command.Env) error {
	d, err := open(e, l.filter)
	if err != nil {
		return err
	}
	defer d.close()
	if l.Summary {
		return l.summarise(e, d)
	}
	limit := l.Limit
	if limit < 0 && !l.JSON && show.IsTerminal(e.Stdout) {
		limit = screenful
	}
	return l.list(e, d, limit)
}

// alignedRows is how many rows of a table are aligned with one another.
const alignedRows = 512

func (l *listCmd) list(e *command.Env, d *session, limit int) error {
	out := bufio.NewWriter(e.Stdout)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	lines := show.JSONLines(out)
	shown, more := 0, false
	for s, err := range d.letters.NewestFirst(e.Stop, d.filter) {
		if err != nil {
			return command.Stopped(e.Stop, err)
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
			_, err = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", show.Span(d.now.Sub(one.DeadAt)),
				one.ID, one.Reason, codeOf(s), show.OrDash(one.Phone), one.Attempts, one.Replays, one.expiry(d.now))
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
		show.Say(e.Stderr, "no dead letters%s", picked(d.filter))
	case more:
		show.Say(e.Stderr, "the newest %d; --limit 0 lists all, --summary counts them", shown)
	default:
		show.Say(e.Stderr, "%s; \"worker dlq show REQUEST\" tells all about one", show.CountOf(shown, "dead letter"))
	}
	return nil
}
