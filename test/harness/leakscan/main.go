// Command leakscan fails where the log of a test run shows a whole phone number
// or a passcode of the tests:
//
//	go run ./test/harness/leakscan -tests . run.log
//
// Exit status: 0 nothing shows; 1 something does; 2 it could not look.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/passcode-worker/passcode-worker/test/harness/leaks"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("leakscan", flag.ContinueOnError)
	flags.SetOutput(stderr)
	tests := flags.String("tests", ".", "the `folder` whose tests name the passcodes to look for")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() == 0 {
		fmt.Fprintln(stderr, "leakscan: name the logs to read")
		return 2
	}
	codes, err := leaks.Codes(os.DirFS(*tests))
	if err != nil {
		fmt.Fprintln(stderr, "leakscan:", err)
		return 2
	}
	// A search that can't find anything would pass for ever: prove that it can.
	if err := selfTest(codes); err != nil {
		fmt.Fprintln(stderr, "leakscan:", err)
		return 2
	}
	leaked := 0
	for _, name := range flags.Args() {
		n, err := scan(name, codes, stdout)
		if err != nil {
			fmt.Fprintln(stderr, "leakscan:", err)
			return 2
		}
		leaked += n
	}
	if leaked > 0 {
		fmt.Fprintf(stdout, "%d leaks\n", leaked)
		return 1
	}
	fmt.Fprintf(stdout, "no phone number and none of %d passcodes in %d logs\n", len(codes), flags.NArg())
	return 0
}

func selfTest(codes []string) error {
	planted := append([]string{"13800000000"}, codes...)
	found, err := leaks.Find(strings.NewReader(strings.Join(planted, "\n")), codes)
	if err != nil {
		return err
	}
	if len(found) != len(planted) {
		return fmt.Errorf("found %d of %d planted values", len(found), len(planted))
	}
	return nil
}

func scan(name string, codes []string, stdout io.Writer) (int, error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	found, err := leaks.Find(file, codes)
	for _, leak := range found {
		fmt.Fprintf(stdout, "%s: %s\n", name, leak)
	}
	return len(found), err
}
