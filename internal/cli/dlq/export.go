package dlq

import (
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
)

type exportCmd struct {
	filterFlags
	Reveal bool `help:"With the jobs themselves, phone numbers and passcodes in clear. Asks first; that it was done is logged."`
	Yes    bool `help:"Don't ask."`
}

func (exportCmd) Help() string {
	return `Writes one JSON object a line, oldest first. With --reveal "body" is the job as the producer wrote it ("body_base64" where it is not UTF-8).

  worker dlq export --since 24h > dead.jsonl`
}

func (c *exportCmd) Run(e *command.Env) error {
	s, err := open(e, c.filter)
	if err != nil {
		return err
	}
	if c.Reveal {
		if err := s.reveal(c.Yes, "the passcodes of the dead letters"+s.picked()); err != nil {
			return err
		}
	}
	list, n := show.NewListing(e.Stdout, true), 0
	for stored, err := range s.letters.OldestFirst(e.Stop, s.filter) {
		if err != nil {
			return command.Stopped(e.Stop, err)
		}
		list.Add(s.whole(stored, c.Reveal))
		n++
	}
	if err := list.Flush(); err != nil {
		return err
	}
	e.Note("%s exported", show.CountOf(n, "dead letter"))
	return nil
}
