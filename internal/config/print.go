package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Print writes the settings as YAML, in the order of the file, with secrets
// masked. Read as a settings file it gives the same settings, as long as no
// secret is set: [Load] refuses the mask.
//
// What a connector file gave is shown in comments beside its keys, since the
// keys themselves can't be set together with it.
func Print(w io.Writer, c Config) error {
	root := mapping()
	sections := map[string]*yaml.Node{"": root}
	defaults := Default()
	for _, k := range known.keys {
		value := k.field(&c)
		var comment string
		if c.Aliyun.ConnectorFile != "" && fromConnector(k.path) {
			comment = "from connector_file: " + oneLine(value)
			value = k.field(&defaults)
		}
		n := toNode(reflect.ValueOf(value).Elem())
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		n.LineComment = comment
		place(sections, k.path, n)
	}
	// The encoder does not wrap its writer's error, so it writes to memory.
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return nil
}

// place puts a node under its path, and makes the sections on the way.
func place(sections map[string]*yaml.Node, path string, n *yaml.Node) {
	above, name := "", path
	if dot := strings.LastIndex(path, "."); dot >= 0 {
		above, name = path[:dot], path[dot+1:]
	}
	section, ok := sections[above]
	if !ok {
		section = mapping()
		sections[above] = section
		place(sections, above, section)
	}
	put(section, name, n)
}

func fromConnector(path string) bool {
	switch path {
	case "aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.sign_name", "aliyun.templates",
		"aliyun.strict_phone_region_number_check":
		return true
	default:
		return false
	}
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

// quoted is a text that can't be mistaken for a number, a truth value or null.
func quoted(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	if text == "" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func plain(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// toNode writes a value as the settings file has it. Types that mask themselves
// do so here by their String method.
func toNode(v reflect.Value) *yaml.Node {
	switch value := v.Interface().(type) {
	case time.Duration:
		return plain(domain.FormatDuration(value))
	case TemplateCode:
		if value.China == value.Overseas {
			return quoted(value.China)
		}
		n := mapping()
		put(n, "china", quoted(value.China))
		put(n, "overseas", quoted(value.Overseas))
		return n
	case Template:
		n := mapping()
		put(n, "usage_type", quoted(value.UsageType))
		put(n, "template_code", toNode(reflect.ValueOf(value.TemplateCode)))
		if value.SignName != "" {
			put(n, "sign_name", quoted(value.SignName))
		}
		if len(value.Params) > 0 {
			put(n, "params", toNode(reflect.ValueOf(value.Params)))
		}
		return n
	case fmt.Stringer:
		return quoted(value.String())
	case string:
		return quoted(value)
	case bool:
		return plain(strconv.FormatBool(value))
	case int:
		return plain(strconv.Itoa(value))
	case float64:
		return plain(strconv.FormatFloat(value, 'g', -1, 64))
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range v.Len() {
		entry := toNode(v.Index(i))
		if entry.Kind == yaml.ScalarNode {
			n.Style = yaml.FlowStyle
		}
		n.Content = append(n.Content, entry)
	}
	return n
}

// put adds a member to a mapping.
func put(n *yaml.Node, name string, value *yaml.Node) {
	n.Content = append(n.Content, plain(name), value)
}

// oneLine shows a value in a comment: JSON escapes whatever would end the line.
func oneLine(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return "(set)"
	}
	return string(text)
}
