package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// confirm has a person say yes before something is done that can't be undone.
// It returns nil where they did, or where yes, the command's --yes, did so
// beforehand; then nothing is asked. Without a terminal there is nobody to ask:
// a script has to say --yes.
func confirm(e *env, yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(e.stdin) {
		return usageError{fmt.Errorf("%s This asks for confirmation, and no terminal is there to ask on: add --yes", question)}
	}
	return ask(e, question)
}

// isTerminal reports whether somebody sits at the other end of a stream. The null
// device is a character device too, so its mode wouldn't tell.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ask puts the question. Only y or yes confirms.
func ask(e *env, question string) error {
	_, _ = fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends with the process: a read from a terminal can't be called off
		line, err := bufio.NewReader(e.stdin).ReadString('\n')
		if err != nil {
			line = "" // the end of input, by Ctrl-D, is no consent
		}
		answer <- line
	}()
	line := ""
	select {
	case line = <-answer:
	case <-e.stop.Done():
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	if line == "" {
		say(e.stderr, "") // the cursor still stands behind the question
	}
	say(e.stderr, "nothing was done")
	return errSaid
}
