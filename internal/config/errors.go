package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong with the settings. No value of a text
// setting stands in it, because a secret may have been put in the wrong place.
type Problem struct {
	Key     string // the setting's path, or what else is wrong: a variable's or a file's name
	Problem string // the rule that is broken
	Mend    string // what to do about it
	Source  string // where the value came from; empty for a default, or for a value that is missing
}

// String returns the problem on one line, even where a file's name has several.
func (p Problem) String() string {
	text := p.Key + ": " + p.Problem
	if p.Mend != "" {
		text += "; " + p.Mend
	}
	if p.Source != "" {
		text += " (" + p.Source + ")"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// Errors is everything that is wrong with the settings. [Load] and the checks of
// [Config] return it; match with errors.As.
type Errors struct {
	Problems []Problem

	found *problems
}

// Usable reports whether settings that belong together have the values that
// their writer meant: nothing is wrong with any of them, and where the settings
// file can't be read, one of them at least comes from elsewhere, so that the
// others are most likely left at their defaults. Without errors, e being nil, all
// settings are usable.
func (e *Errors) Usable(keys ...string) bool {
	if e == nil {
		return true
	}
	elsewhere := e.found.elsewhere
	return e.found.fine(keys...) &&
		(elsewhere == nil || slices.ContainsFunc(keys, func(key string) bool { return elsewhere[key] }))
}

// Concern reports whether one of the problems is about the key.
func (e *Errors) Concern(key string) bool {
	return slices.ContainsFunc(e.Problems, func(p Problem) bool { return p.Key == key })
}

// Error lists the problems, one a line.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// problems gathers what is wrong, and remembers which settings it concerns, so
// that a rule over several of them is not judged with one that has failed
// already: each mistake is reported once.
type problems struct {
	list     []Problem
	bad      map[string]bool // settings with a problem in them
	misspelt map[string]bool // settings that were probably meant by a wrong name
	// elsewhere is set where the settings file can't be read as a whole: it holds
	// the settings that the environment or the command line gives instead.
	elsewhere map[string]bool
}

func (p *problems) add(key, source, problem, mend string) {
	if p.bad == nil {
		p.bad = map[string]bool{}
	}
	p.bad[settingOf(key)] = true
	p.list = append(p.list, Problem{Key: key, Problem: problem, Mend: mend, Source: source})
}

// unknown notes a name that is no setting, as the setting that it probably was
// meant to be: that one is not also missing.
func (p *problems) unknown(name, source, meant, suggestion string) {
	mend := "remove it; config/worker.yaml lists every setting"
	if meant != "" {
		mend = "did you mean " + suggestion + "?"
		if p.misspelt == nil {
			p.misspelt = map[string]bool{}
		}
		p.misspelt[meant] = true
	}
	p.add(shown(name), source, "is no setting", mend)
}

// fine reports whether nothing is wrong with any of the settings.
func (p *problems) fine(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return p.bad[key] || p.unread(key) })
}

// noted reports whether anything is wrong at a path or beneath it.
func (p *problems) noted(path string) bool {
	return slices.ContainsFunc(p.list, func(known Problem) bool {
		rest, ok := strings.CutPrefix(known.Key, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// unread reports whether nothing is known of what was written for a setting:
// the value as a whole could not be read, nor the section that it stands in, or
// its name is misspelt.
func (p *problems) unread(path string) bool {
	return p.misspelt[path] || slices.ContainsFunc(p.list, func(known Problem) bool {
		rest, ok := strings.CutPrefix(path, known.Key)
		return ok && (rest == "" || rest[0] == '.')
	})
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &Errors{Problems: p.list, found: p}
}

// settingOf returns the setting that a path leads into: that of
// "aliyun.templates[0].params" is "aliyun.templates".
func settingOf(path string) string {
	path, _, _ = strings.Cut(path, "[")
	for at := path; ; {
		if known.leaves[at] {
			return at
		}
		dot := strings.LastIndex(at, ".")
		if dot < 0 {
			return path
		}
		at = at[:dot]
	}
}

// shown returns a name that a problem may print. Names come from outside, and a
// missing space turns "password: x" into a name; so only what can be a name is
// shown, and it ends at the first character that can't.
func shown(name string) string {
	end := strings.IndexFunc(name, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != '_' && r != '-' && r != '.' && r != '[' && r != ']'
	})
	if end < 0 {
		end = len(name)
	}
	const most = 64
	switch {
	case end == len(name) && end <= most && name != "":
		return name
	case end == 0:
		return "(unreadable name)"
	default:
		return fmt.Sprintf("%s…", name[:min(end, most)])
	}
}
