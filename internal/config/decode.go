package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// isList reports whether a setting is a list.
func isList(path string) bool {
	var c Config
	for _, k := range known.keys {
		if k.path == path {
			return reflect.TypeOf(k.field(&c)).Elem().Kind() == reflect.Slice
		}
	}
	return false
}

// decoding turns the nodes of one setting into its value. What can't be turned
// is noted and leaves the target as it was. Values are never quoted.
type decoding struct {
	source string
	bad    *problems
	// lenient passes over unknown members of objects, and takes the last of a
	// name, as JSON.parse does.
	lenient bool
}

func (d decoding) fail(path string, problem, mend string) {
	d.bad.add(path, d.source, problem, mend)
}

// value decodes into the types that settings have.
func (d decoding) value(path string, n *yaml.Node, target any) {
	switch t := target.(type) {
	case *string:
		*t, _ = d.text(path, n, *t)
	case *passcode.Secret:
		if text, ok := d.secret(path, n); ok {
			*t = passcode.NewSecret(text)
		}
	case *KeyID:
		if text, ok := d.secret(path, n); ok {
			*t = NewKeyID(text)
		}
	case *ServerURLs:
		if text, ok := d.secret(path, n); ok {
			*t = NewServerURLs(text)
		}
	case *bool:
		switch scalar(n) {
		case "true":
			*t = true
		case "false":
			*t = false
		default:
			d.fail(path, "must be true or false", "write true or false")
		}
	case *int:
		if i, err := strconv.ParseInt(scalar(n), 10, 32); err == nil {
			*t = int(i)
		} else {
			d.fail(path, "must be a whole number", "write digits alone, such as 10")
		}
	case *float64:
		if f, err := strconv.ParseFloat(scalar(n), 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			*t = f
		} else {
			d.fail(path, "must be a number", "write a number such as 1.5")
		}
	case *time.Duration:
		if duration, err := time.ParseDuration(scalar(n)); err == nil {
			*t = duration
		} else {
			d.fail(path, "must be a duration", "write a number and its unit, such as 500ms, 30s, 10m or 24h")
		}
	case *Bytes:
		if err := t.UnmarshalText([]byte(scalar(n))); err != nil {
			d.fail(path, "must be a size", "write a number and its unit, such as 512MiB or 1GiB")
		}
	case *domain.Rule:
		if err := t.UnmarshalText([]byte(scalar(n))); err != nil {
			d.fail(path, "must be a number of passcodes and a window", `write "5/1h" for five in any hour`)
		}
	case *[]string:
		list(d, path, n, t)
	case *[]time.Duration:
		list(d, path, n, t)
	case *[]domain.Rule:
		list(d, path, n, t)
	case *[]Template:
		list(d, path, n, t)
	case *Template:
		d.template(path, n, t)
	case *TemplateCode:
		d.templateCode(path, n, t)
	default:
		panic(fmt.Sprintf("config: no decoder for %T", target)) // a new type in Config
	}
}

// list decodes each entry of a list; one that fails hides no other and stays in
// the list as its zero value.
func list[T any](d decoding, path string, n *yaml.Node, target *[]T) {
	if n.Kind != yaml.SequenceNode {
		d.fail(path, "must be a list", "write [a, b], or one entry a line with - before it")
		return
	}
	entries := make([]T, len(n.Content))
	for i, entry := range n.Content {
		d.value(fmt.Sprintf("%s[%d]", path, i), entry, &entries[i])
	}
	*target = entries
}

// scalar returns the text of a scalar as it was written, and of anything else a
// text that no type accepts.
func scalar(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return "(none)"
	}
	return n.Value
}

// text decodes a text. A number is taken as it was written, so that an unquoted
// token keeps its leading zeros. It returns the fallback where it fails.
func (d decoding) text(path string, n *yaml.Node, fallback string) (string, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.fail(path, "must be a text", `write one value, in quotes where it holds special characters; "" for none`)
		return fallback, false
	}
	text := n.Value
	switch {
	case !utf8.ValidString(text):
		d.fail(path, "must be UTF-8", "write it as UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		// Typically the line feed at the end of a file that was read into a
		// variable, or a zero-width space copied from a web page.
		d.fail(path, "must not hold line breaks or invisible characters", "remove them, also at the end of the value")
	case strings.TrimSpace(text) != text:
		d.fail(path, "must not begin or end with white space", "remove it")
	case isPlaceholder(text):
		d.fail(path, "holds the placeholder of an example", "put the real value in its place")
	default:
		return text, true
	}
	return fallback, false
}

// secret is a text that is masked where settings are printed; it refuses the
// mask, which comes of using printed settings as a file.
func (d decoding) secret(path string, n *yaml.Node) (string, bool) {
	text, ok := d.text(path, n, "")
	if ok && strings.Contains(text, mask) {
		d.fail(path, "holds the mask "+mask+" that stands for a secret in printed settings", "put the real value in its place")
		return "", false
	}
	return text, ok
}

// isPlaceholder tells values like <access-key-id>, which examples hold.
func isPlaceholder(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">")
}

// members hands each member of an object to its decoder; others are no settings.
// It reports whether every name was known: where not, a member that is missing
// is probably the one misspelt.
func (d decoding) members(path string, n *yaml.Node, shape string, decoders map[string]any) bool {
	if n.Kind != yaml.MappingNode {
		d.fail(path, "must be an object", "write "+shape)
		return false
	}
	known, seen := true, map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		at := path + "." + shown(name)
		target, ok := decoders[name]
		switch {
		case !ok && d.lenient:
		case seen[name] && !d.lenient:
			d.fail(at, "is set twice", "keep one of the two")
		case !ok:
			d.fail(at, "is no setting", "write "+shape)
			known = false
		case !isNull(value):
			d.value(at, value, target)
		}
		seen[name] = true
	}
	return known
}

func (d decoding) template(path string, n *yaml.Node, t *Template) {
	known := d.members(path, n, "{usage_type: TYPE, template_code: CODE}, and sign_name or params where wanted", map[string]any{
		"usage_type": &t.UsageType, "template_code": &t.TemplateCode, "sign_name": &t.SignName, "params": &t.Params,
	})
	if !known {
		return
	}
	if t.UsageType == "" && !d.bad.noted(path+".usage_type") {
		d.fail(path+".usage_type", "is missing", "write the usage type, such as Generic")
	}
	if t.TemplateCode == (TemplateCode{}) && !d.bad.noted(path+".template_code") {
		d.fail(path+".template_code", "is missing", "write the code of an approved template, such as SMS_123456789")
	}
}

func (d decoding) templateCode(path string, n *yaml.Node, t *TemplateCode) {
	if n.Kind != yaml.MappingNode {
		code, _ := d.text(path, n, "")
		*t = TemplateCode{China: code, Overseas: code}
		return
	}
	known := d.members(path, n, "{china: CODE, overseas: CODE}", map[string]any{"china": &t.China, "overseas": &t.Overseas})
	if !known {
		return
	}
	if t.China == "" && !d.bad.noted(path+".china") {
		d.fail(path+".china", "is missing", "write the code for mainland China, or one text for both")
	}
	if t.Overseas == "" && !d.bad.noted(path+".overseas") {
		d.fail(path+".overseas", "is missing", "write the code for elsewhere, or one text for both")
	}
}
