package config

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// decoder turns nodes into values. Of what it can't turn it notes a problem, without
// the value, and leaves the target as it was.
type decoder struct {
	*Errors
	connector bool // as Logto decodes: unknown members are passed over, a number is no text
}

func (d decoder) value(path string, n *yaml.Node, v reflect.Value) {
	d.nodes[path] = n
	// Aliases may grow without bound, and a tag has a value read otherwise than it looks.
	if n.Kind == yaml.AliasNode || n.Style&yaml.TaggedStyle != 0 {
		d.fail(path, "uses an alias or a tag of YAML, which settings don't allow", "write the value itself")
		return
	}
	text := scalar(n)
	switch target := v.Addr().Interface().(type) {
	case *string:
		d.text(path, n, func(text string) { *target = text })
	case *passcode.Secret:
		d.text(path, n, func(text string) { *target = passcode.NewSecret(text) })
	case *KeyID:
		d.text(path, n, func(text string) { *target = NewKeyID(text) })
	case *ServerURLs:
		d.text(path, n, func(text string) { *target = NewServerURLs(text) })
	case *bool:
		assign(d, path, target, text == "true", text == "true" || text == "false", "must be true or false", "write true or false")
	case *int:
		i, err := strconv.ParseUint(text, 10, 31)
		assign(d, path, target, int(i), err == nil, "must be a whole number, 0 or more", "write digits alone, such as 10")
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		assign(d, path, target, f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0), "must be a number", "write a number such as 1.5")
	case *time.Duration:
		duration, err := time.ParseDuration(text)
		assign(d, path, target, duration, err == nil && duration > 0, "must be a duration longer than 0",
			"write a number and its unit, such as 500ms, 30s, 10m or 24h")
	case *Bytes:
		size, ok := parseBytes(text)
		assign(d, path, target, size, ok, "must be a size", "write a number and its unit, such as 512MiB or 1GiB")
	case *domain.Rule:
		rule, err := domain.ParseRule(text)
		assign(d, path, target, rule, err == nil, "must be a number of passcodes and a window", `write "5/1h" for five in any hour`)
	case *domain.TemplateCode:
		if n.Kind == yaml.MappingNode {
			d.object(path, n, v)
		} else {
			d.text(path, n, func(code string) { *target = domain.TemplateCode{China: code, Overseas: code} })
		}
	default:
		switch v.Kind() {
		case reflect.Slice:
			d.list(path, n, v)
		case reflect.Struct:
			d.object(path, n, v)
		default:
			panic(fmt.Sprintf("config: no decoder for %T", target)) // a new type in Config
		}
	}
}

func assign[T any](d decoder, path string, target *T, value T, right bool, problem, fix string) {
	if right {
		*target = value
	} else {
		d.fail(path, problem, fix)
	}
}

// list decodes each entry of a list; one that fails hides no other and stays in the list as its zero value.
func (d decoder) list(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fail(path, "must be a list", "write [a, b], or one entry a line with - before it")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, entry := range n.Content {
		d.value(fmt.Sprintf("%s[%d]", path, i), entry, v.Index(i))
	}
}

func (d decoder) object(path string, n *yaml.Node, v reflect.Value) {
	names := memberNames(v.Type())
	whole := d.members(path, n, names, func(at string, value *yaml.Node) {
		if !isNull(value) {
			d.value(at, value, v.Field(slices.Index(names, at[len(path)+1:])))
		}
	})
	if !whole { // what is missing is probably what is misspelt
		return
	}
	for i, name := range names {
		fix, at := v.Type().Field(i).Tag.Get("required"), join(path, name)
		if fix != "" && v.Field(i).IsZero() && d.fine(at) {
			d.fail(at, "is missing", fix)
		}
	}
}

// members visits the members that have one of the names, and reports all others.
// It reports whether there were none in an object.
func (d decoder) members(path string, n *yaml.Node, names []string, visit func(at string, value *yaml.Node)) (whole bool) {
	all := "they are " + strings.Join(names, ", ")
	if n.Kind != yaml.MappingNode {
		d.add(cmp.Or(path, "settings"), d.source(n), "must be a section", "write its settings beneath it, each as key: value; "+all)
		return false
	}
	whole = true
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		member, value := n.Content[i], n.Content[i+1]
		name, at := member.Value, join(path, member.Value)
		switch {
		case member.Kind != yaml.ScalarNode || member.ShortTag() == "!!merge":
			d.add(cmp.Or(path, "settings"), d.source(member), "holds a key that is no plain name", "write each setting out as key: value")
		case seen[name]:
			d.add(shown(at), d.source(member), "is set twice", "keep one of the two")
		case slices.Contains(names, name):
			visit(at, value)
		case d.connector:
		case known.isSection(path):
			d.unknown(at, d.source(member))
		default:
			whole = false
			d.add(shown(at), d.source(member), "is no setting here", all)
		}
		seen[name] = true
	}
	return whole
}

// scalar returns the text of a scalar as it was written, and of anything else a text that no type accepts.
func scalar(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return "(none)"
	}
	return n.Value
}

// text decodes a text. A number is taken as it was written, so that an unquoted token keeps its leading zeros.
func (d decoder) text(path string, n *yaml.Node, set func(string)) {
	text := n.Value
	switch {
	case n.Kind != yaml.ScalarNode || isNull(n) || d.connector && n.ShortTag() != "!!str":
		d.fail(path, "must be a text", `write one value, in quotes where it holds special characters; "" for none`)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		// Such as the line feed of a file that was read into a variable.
		d.fail(path, "must not hold line breaks, invisible characters or what is no UTF-8", "remove them, also at the end of the value")
	case strings.TrimSpace(text) != text:
		d.fail(path, "must not begin or end with white space", "remove it")
	case strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">"): // such as <access-key-id>
		d.fail(path, "holds the placeholder of an example", "write the real value")
	case strings.Contains(text, mask): // the printed settings were used as a file
		d.fail(path, "holds the mask "+mask+" that stands for a secret in printed settings", "write the real value")
	default:
		set(text)
	}
}
