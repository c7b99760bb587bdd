package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// serviceLink matches the variables that Kubernetes puts into each container of
// a namespace for each of its services. One named passcode-worker would make
// them look like settings that don't exist, and keep the worker from starting.
var serviceLink = regexp.MustCompile(`^PASSCODE_([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// readEnv reads PASSCODE_ variables, given as os.Environ gives them.
func readEnv(environ []string, bad *problems) layer {
	var set []assignment
	for _, variable := range lastOfEach(environ) {
		name, text, _ := strings.Cut(variable, "=")
		source := "environment variable " + shown(name)
		path, ok := known.env[name]
		switch {
		case ok:
			set = append(set, assignment{path: path, text: text, source: source})
		case name == EnvFile || serviceLink.MatchString(name):
		default:
			meant := nearest(strings.TrimPrefix(name, envPrefix))
			bad.unknown(name, "environment", meant, EnvName(meant))
		}
	}
	return assign(set, bad)
}

// lastOfEach returns our variables in the order of their names, and of each name
// the last, which is the one that holds.
func lastOfEach(environ []string) []string {
	last := map[string]string{}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix) {
			last[name] = variable
		}
	}
	variables := make([]string, 0, len(last))
	for _, variable := range last {
		variables = append(variables, variable)
	}
	slices.Sort(variables)
	return variables
}

// readSet reads key=value flags; of a key given twice the last holds.
func readSet(flags []string, bad *problems) layer {
	var set []assignment
	for _, flag := range flags {
		path, text, ok := strings.Cut(flag, "=")
		switch {
		case !ok:
			bad.add("--set", "", "must be key=value", "write for instance --set log.level=debug")
		case known.leaves[path] || known.sections[path]:
			set = append(set, assignment{path: path, text: text, source: "--set " + path})
		default:
			meant := nearest(path)
			bad.unknown(path, "--set", meant, meant)
		}
	}
	return assign(set, bad)
}

// assignment gives a setting or a section its value as text.
type assignment struct{ path, text, source string }

// assign reads texts into a layer: a plain text where a list or an object must
// be JSON. A section gives way to the settings in it that are given themselves.
func assign(set []assignment, bad *problems) layer {
	slices.SortStableFunc(set, func(a, b assignment) int {
		return strings.Count(a.path, ".") - strings.Count(b.path, ".")
	})
	found := layer{}
	for _, a := range set {
		source := func(*yaml.Node) string { return a.source }
		if !known.sections[a.path] && !isList(a.path) {
			found[a.path] = setting{Node: textNode(a.text), Source: a.source}
			continue
		}
		n, err := parseJSON([]byte(a.text))
		if err != nil {
			mend := `write a JSON list, such as ["a","b"]`
			if known.sections[a.path] {
				mend = `write a JSON object, such as {"key":"value"}`
			}
			bad.add(a.path, a.source, "must be JSON", mend)
			continue
		}
		if known.sections[a.path] {
			found.section(a.path, n, source, bad)
			continue
		}
		found.leaf(a.path, n, source, bad)
	}
	return found
}

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

var errNotJSON = errors.New("not JSON")

// parseJSON reads one JSON value into the nodes that YAML is read into. YAML's
// own parser is no help: it refuses some of JSON's escapes and takes much that
// is no JSON.
func parseJSON(data []byte) (*yaml.Node, error) {
	// json.Valid bounds the depth, too, but passes over what is not UTF-8.
	if len(data) > maxFile || !utf8.Valid(data) || !json.Valid(data) {
		return nil, errNotJSON
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return nextJSON(decoder)
}

func nextJSON(decoder *json.Decoder) (*yaml.Node, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, errNotJSON
	}
	switch value := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if value == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for decoder.More() { // the names of an object's members are tokens, too
			child, err := nextJSON(decoder)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := decoder.Token() // the closing bracket
		return n, err
	case string:
		return textNode(value), nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: value.String()}, nil
	case bool:
		text := "false"
		if value {
			text = "true"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: text}, nil
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, nil
	}
}
