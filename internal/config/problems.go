package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/internal/text"
)

// Problem is one thing that is wrong with the settings. It holds no text of them, which
// may be a secret under the wrong key.
type Problem struct {
	Key     string // the setting's path, or what else is wrong: a variable's or a file's name
	Problem string // the rule that is broken
	Fix     string
	Source  string // where the value came from; empty for a default, or for a value that is missing
}

// String returns the problem on one line, even where a file's name has several.
func (p Problem) String() string {
	line := p.Key + ": " + p.Problem
	if p.Fix != "" {
		line += "; " + p.Fix
	}
	if p.Source != "" {
		line += " (" + p.Source + ")"
	}
	return text.Printable(line)
}

// Errors is everything that is wrong with the settings, and what is known of them while they are read and checked.
// [Load] returns it; match with errors.As. A rule over several settings is skipped where one of them has a problem
// already, so that each mistake is reported once.
type Errors struct {
	Problems   []Problem
	misspelt   []string // settings that were probably meant by a wrong name
	fileName   string
	fileUnread bool                  // nothing is known of what the file sets
	nodes      map[string]*yaml.Node // what is written for a setting, and for what is in it, by path
	sources    map[*yaml.Node]string // of nodes that the file does not hold
}

func newErrors() *Errors {
	return &Errors{nodes: map[string]*yaml.Node{}, sources: map[*yaml.Node]string{}}
}

// Error lists the problems, one a line.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Usable reports whether settings that belong together have the values that their writer meant: nothing is wrong
// with any of them, and where the settings file can't be read, one of them at least is set elsewhere, so that the
// others most likely keep their defaults. Where e is nil all settings are usable.
func (e *Errors) Usable(keys ...string) bool {
	if e == nil {
		return true
	}
	elsewhere := func(key string) bool { return e.nodes[key] != nil }
	return e.fine(keys...) && (!e.fileUnread || slices.ContainsFunc(keys, elsewhere))
}

// Concern reports whether one of the problems is about the key.
func (e *Errors) Concern(key string) bool {
	return slices.ContainsFunc(e.Problems, func(p Problem) bool { return p.Key == key })
}

func (e *Errors) add(key, source, problem, fix string) {
	e.Problems = append(e.Problems, Problem{Key: key, Problem: problem, Fix: fix, Source: source})
}

// fail notes a problem of a setting, or of a part of one.
func (e *Errors) fail(key, problem, fix string) { e.add(key, e.sourceOf(key), problem, fix) }

// unknown notes a name that is no setting. The setting that it probably was meant to be is not also missing.
func (e *Errors) unknown(name, source string) {
	fix := "remove it; config/worker.yaml lists every setting"
	variable, isVariable := strings.CutPrefix(name, envPrefix)
	if meant := nearest(variable); meant != "" && meant != name {
		e.misspelt = append(e.misspelt, meant)
		if isVariable {
			meant = EnvName(meant)
		}
		fix = "did you mean " + meant + "?"
	}
	e.add(shown(name), source, "is no setting", fix)
}

// fine reports whether nothing is wrong with any of the settings, with a part of one, or with what it is a part of.
func (e *Errors) fine(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool {
		return e.unread(key) || slices.ContainsFunc(e.Problems, func(p Problem) bool { return within(p.Key, key) })
	})
}

// unread reports whether what was written for a setting could not be read as a
// whole, nor what it is a part of, or stands under a misspelt name.
func (e *Errors) unread(key string) bool {
	return slices.Contains(e.misspelt, key) || slices.ContainsFunc(e.Problems, func(p Problem) bool { return within(key, p.Key) })
}

func (e *Errors) source(n *yaml.Node) string {
	if source, ok := e.sources[n]; ok {
		return source
	}
	return fmt.Sprintf("%s line %d", e.fileName, n.Line)
}

// sourceOf says where a setting was written; of a part of one that is not written, where the part around it was.
func (e *Errors) sourceOf(path string) string {
	for {
		if n, ok := e.nodes[path]; ok {
			return e.source(n)
		}
		up := strings.LastIndexAny(path, ".[")
		if up < 0 || known.isSetting(path) {
			return ""
		}
		path = path[:up]
	}
}

var nameStart = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]{0,64}`)

// shown returns a name that a problem may print. Names come from outside, and a missing space turns "password: x"
// into a name; so it ends at the first character that no name has.
func shown(name string) string {
	start := nameStart.FindString(name)
	if start == "" || start != name {
		start += "…"
	}
	return start
}
