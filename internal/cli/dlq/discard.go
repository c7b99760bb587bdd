package dlq

import (
	"fmt"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/passcode"
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
	byReason := map[passcode.Reason]int{}
	seqs, err := s.sequences(func(letter deadletter.Stored) { byReason[letter.Reason()]++ })
	if err != nil {
		return err
	}
	if len(seqs) == 0 {
		return s.nonePicked()
	}
	var parts []string
	for _, reason := range passcode.Reasons() {
		if n := byReason[reason]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", reason, n))
		}
	}
	if err := e.Confirm(c.Yes, fmt.Sprintf("Discard %s (%s) for good?", show.CountOf(len(seqs), "dead letter"), strings.Join(parts, ", "))); err != nil {
		return err
	}
	// One that was removed by somebody else meanwhile, or replaced by a newer
	// one of the same request, is not there any more; the newer one stays.
	removed := 0
	for err := range inOrder(e.Stop, maxReplayers, seqs, func(seq uint64) error { return s.letters.Remove(e.Force, seq) }) {
		if err != nil {
			e.Note("%d of %d discarded; run it again to go on", removed, len(seqs))
			return err
		}
		removed++
	}
	e.Print("discarded: %d", removed)
	if e.Stop.Err() != nil {
		e.Note("stopped: %d of %d done; run it again to go on", removed, len(seqs))
		return command.ErrSaid
	}
	return nil
}
