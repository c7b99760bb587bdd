package main

import (
	"fmt"
	"strings"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// dlqDiscardCmd is "worker dlq discard".
type dlqDiscardCmd struct {
	dlqChoice
	Yes bool `help:"Don't ask."`
}

// Help is shown below the flags' own.
func (dlqDiscardCmd) Help() string {
	return `Discarded dead letters can't be brought back; "worker dlq export --reveal" keeps a copy. The records of their requests stay.`
}

// Run removes what the filter picks, after asking.
func (r *dlqDiscardCmd) Run(e *env, c *cli) error {
	d, err := c.openDLQ(e, r.filter)
	if err != nil {
		return err
	}
	defer d.close()
	var seqs []uint64
	byReason := map[passcode.Reason]int{}
	for s, err := range d.letters.OldestFirst(e.stop, d.filter) {
		if err != nil {
			return stopped(e.stop, err)
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
	if err := confirm(e, r.Yes, fmt.Sprintf("Discard %s (%s) for good?", countOf(len(seqs), "dead letter"), strings.Join(parts, ", "))); err != nil {
		return err
	}
	// One that was removed by somebody else meanwhile, or whose place a newer one
	// of the same request took, is not there any more; the newer one stays.
	removals := inOrder(e.stop, maxReplayers, sequence(seqs), func(seq uint64) error { return d.letters.Remove(e.force, seq) })
	removed := 0
	for failed, err := range removals {
		if failed != nil || err != nil {
			say(e.stderr, "%d of %d discarded; run it again to go on", removed, len(seqs))
			return failed
		}
		removed++
	}
	say(e.stdout, "discarded: %d", removed)
	if e.stop.Err() != nil {
		say(e.stderr, "stopped: %d of %d done; run it again to go on", removed, len(seqs))
		return errSaid
	}
	return nil
}
