package dlq

import (
	"fmt"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// discardCmd is "worker dlq discard".
type discardCmd struct {
	choiceFlags
	Yes bool `help:"Don't ask."`
}

// Help is shown below the flags' own.
func (discardCmd) Help() string {
	return `Discarded dead letters can't be brought back; "worker dlq export --reveal" keeps a copy. The records of their requests stay.`
}

// Run removes what the filter picks, after asking.
func (r *discardCmd) Run(e *command.Env) error {
	d, err := open(e, r.filter)
	if err != nil {
		return err
	}
	defer d.close()
	var seqs []uint64
	byReason := map[passcode.Reason]int{}
	for s, err := range d.letters.OldestFirst(e.Stop, d.filter) {
		if err != nil {
			return command.Stopped(e.Stop, err)
		}
		seqs = append(seqs, s.Seq)
		byReason[s.Reason()]++
	}
	if len(seqs) == 0 {
		return d.nonePicked(e)
	}
	var parts []string
	for _, reason := range passcode.Reasons() {
		if n := byReason[reason]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", reason, n))
		}
	}
	if err := e.Confirm(r.Yes, fmt.Sprintf("Discard %s (%s) for good?", show.CountOf(len(seqs), "dead letter"), strings.Join(parts, ", "))); err != nil {
		return err
	}
	// One that was removed by somebody else meanwhile, or whose place a newer one
	// of the same request took, is not there any more; the newer one stays.
	removals := inOrder(e.Stop, maxReplayers, sequence(seqs), func(seq uint64) error { return d.letters.Remove(e.Force, seq) })
	removed := 0
	for failed, err := range removals {
		if failed != nil || err != nil {
			show.Say(e.Stderr, "%d of %d discarded; run it again to go on", removed, len(seqs))
			return failed
		}
		removed++
	}
	show.Say(e.Stdout, "discarded: %d", removed)
	if e.Stop.Err() != nil {
		show.Say(e.Stderr, "stopped: %d of %d done; run it again to go on", removed, len(seqs))
		return command.ErrSaid
	}
	return nil
}
