// Package leaks finds what must never stand in a log: whole mainland phone
// numbers, and the passcodes that the tests send. The tests run it over what a
// worker printed, and the pipeline over the log of a whole run.
package leaks

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Leak is a place where a value shows. The value itself is not repeated.
type Leak struct {
	Line int // counted from 1
	What string
	Text string // the line, with what leaked masked
}

// String names the place and the kind of the leak.
func (l Leak) String() string { return fmt.Sprintf("line %d: %s: %s", l.Line, l.What, l.Text) }

// before stands where a value may begin: at the start of a line, after anything
// that is no part of a word or number, or after an escape of URLs, JSON and Go,
// whose last letters would otherwise hide the boundary ("%2B86…", "\u002b86…").
const before = `(?:^|[^0-9A-Za-z_]|%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[nrt])`

// phone is a mainland mobile number, however it is written without spaces. Runs
// of other lengths, such as receipts and timestamps, are none.
var phone = regexp.MustCompile(before + `((?:\+?86|0086)?1[3-9][0-9]{9})(?:[^0-9A-Za-z_]|$)`)

// script is a command that testscript repeats before it runs it: the number in
// it was typed by the test's author, not printed by the program.
var script = regexp.MustCompile(`^\s*> (?:\[[^\]]*\] )*(?:[!?] )?[a-z]`)

// Find returns the leaks in a text. Codes are the passcodes to look for; six
// characters are enough not to be met by chance.
func Find(text io.Reader, codes []string) ([]Leak, error) {
	code := codePattern(codes)
	// The patterns are slow, and few lines have anything that could match.
	suspect := func(line string) bool {
		return hasNumber(line) || slices.ContainsFunc(codes, func(c string) bool { return strings.Contains(line, c) })
	}
	var found []Leak
	lines := bufio.NewReader(text)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if suspect(line) && !script.MatchString(line) {
			found = append(found, findIn(n, line, code)...)
		}
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return found, fmt.Errorf("read the text: %w", err)
		}
	}
}

// hasNumber says whether a line has a run of digits that may be a phone number:
// eleven, two or four more with its country code, and any more where an escape may
// have left digits before it. Receipts of eighteen, which stand in every other line
// of a worker's log, are none.
func hasNumber(line string) bool {
	escaped := strings.ContainsAny(line, `%\`)
	run := 0
	for i := range len(line) + 1 {
		if i < len(line) && '0' <= line[i] && line[i] <= '9' {
			run++
			continue
		}
		if run == 11 || run == 13 || run == 15 || run > 11 && escaped {
			return true
		}
		run = 0
	}
	return false
}

func findIn(n int, line string, code *regexp.Regexp) []Leak {
	var what []string
	masked := line
	if phone.MatchString(line) {
		what = append(what, "a whole phone number")
		masked = hide(phone, masked)
	}
	if code != nil && code.MatchString(line) {
		what = append(what, "a passcode")
		masked = hide(code, masked)
	}
	leaks := make([]Leak, 0, len(what))
	for _, w := range what {
		leaks = append(leaks, Leak{Line: n, What: w, Text: masked})
	}
	return leaks
}

// hide replaces the first group of each match. Two matches may share the
// character between them, so it goes on until nothing matches.
func hide(pattern *regexp.Regexp, line string) string {
	for {
		at := pattern.FindStringSubmatchIndex(line)
		if at == nil {
			return line
		}
		line = line[:at[2]] + "****" + line[at[3]:]
	}
}

// codePattern matches any of the codes as a whole word. A digit and a point
// before it make it part of a number, such as a fraction of a second.
func codePattern(codes []string) *regexp.Regexp {
	if len(codes) == 0 {
		return nil
	}
	quoted := make([]string, len(codes))
	for i, c := range codes {
		quoted[i] = regexp.QuoteMeta(c)
	}
	start := strings.Replace(before, `[^0-9A-Za-z_]`, `(?:^|[^0-9])[.,:]|[^0-9A-Za-z_.,:]`, 1)
	return regexp.MustCompile(start + `(` + strings.Join(quoted, "|") + `)(?:[^0-9A-Za-z_]|$)`)
}

// codeIn is how a passcode stands in a test's source: a member of JSON, the
// argument of a constructor or of a flag, or a constant.
var codeIn = regexp.MustCompile(
	`(?:\\?"code\\?":\s*\\?"|NewPasscode\("|--code[ =]["']?|--code", "|[cC]ode\s*=\s*")([0-9A-Za-z]{6})\b`)

// Codes returns the passcodes that the tests under fsys use: those of six
// characters with a digit among them, since shorter ones and words are met in
// any log by chance. It reads Go tests, testscripts and test data.
func Codes(fsys fs.FS) ([]string, error) {
	var codes []string
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !isTest(name) {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		for _, match := range codeIn.FindAllSubmatch(data, -1) {
			if code := string(match[1]); strings.ContainsAny(code, "0123456789") {
				codes = append(codes, code)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tests: %w", err)
	}
	slices.Sort(codes)
	return slices.Compact(codes), nil
}

func isTest(name string) bool {
	return strings.HasSuffix(name, "_test.go") || path.Ext(name) == ".txtar" ||
		strings.Contains("/"+path.Dir(name)+"/", "/testdata/")
}
