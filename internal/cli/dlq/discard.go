package dlq

import (
	"cmp"
	"fmt"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
)

type discardCmd struct {
	choiceFlags
	Yes bool `help:"Don't ask."`
}

func (discardCmd) Help() string {
	return `Discarded dead letters can't be brought back; "worker dlq export --reveal" keeps a copy. The records of their requests stay.`
}

func (c *discardCmd) Run(e *command.Env) error {
	s, err := open(e, c.filter)
	if err != nil {
		return err
	}
	seqs, byReason, err := s.sequences()
	if err != nil || len(seqs) == 0 {
		return err
	}
	what := fmt.Sprintf("%s (%s)", show.CountOf(len(seqs), "dead letter"), counted(byReason, len(byReason)))
	if err := e.Confirm(c.Yes, "Discard "+what+" for good?"); err != nil {
		return err
	}
	// One that was removed by somebody else meanwhile, or replaced by a newer
	// one of the same request, is not there any more; the newer one stays.
	removed := 0
	for err = range inOrder(e.Stop, maxReplayers, seqs, func(seq uint64) error { return s.letters.Remove(e.Force, seq) }) {
		if err != nil {
			break
		}
		removed++
	}
	e.Print("discarded: %d", removed)
	if removed < len(seqs) {
		e.Note("%d of %d done; run it again to go on", removed, len(seqs))
		return cmp.Or(err, command.ErrSaid)
	}
	return nil
}
