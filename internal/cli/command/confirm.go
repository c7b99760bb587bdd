package command

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

// Confirm has a person say yes before something is done that can't be undone. yes
// is the command's --yes: then nothing is asked. A script has to say it.
func (e *Env) Confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !show.IsTerminal(e.Stdin) {
		return Usagef("%s This asks for confirmation, and no terminal is there to ask on: add --yes", question)
	}
	return ask(e, question)
}

// ask puts the question. Only y or yes confirms.
func ask(e *Env, question string) error {
	_, _ = fmt.Fprintf(e.Stderr, "%s [y/N] ", text.Printable(question))
	answer := make(chan string, 1)
	go func() { // ends with the process: a read from a terminal can't be called off
		line, err := bufio.NewReader(e.Stdin).ReadString('\n')
		if err != nil {
			line = "" // the end of input, by Ctrl-D, is no consent
		}
		answer <- line
	}()
	line := ""
	select {
	case line = <-answer:
	case <-e.Stop.Done():
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	if line == "" {
		e.Note("") // the cursor still stands behind the question
	}
	e.Note("nothing was done")
	return ErrSaid
}
