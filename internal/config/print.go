package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
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
	comments := map[string]string{}
	if c.Aliyun.ConnectorFile != "" {
		defaults, given := Default(), c
		for _, k := range known.keys {
			if !slices.Contains(connectorGives, k.path) {
				continue
			}
			// JSON escapes whatever would end the line.
			if text, err := json.Marshal(k.field(&given).Interface()); err == nil {
				comments[k.path] = "from connector_file: " + string(text)
			}
			k.field(&c).Set(k.field(&defaults))
		}
	}
	// The encoder does not wrap its writer's error, so it writes to memory.
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	err := errors.Join(encoder.Encode(toNode("", reflect.ValueOf(c), comments)), encoder.Close())
	if err == nil {
		_, err = w.Write(text.Bytes())
	}
	if err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return nil
}

// toNode writes a value as the settings file has it, with comments by path. Types
// that mask themselves do so here by their String method.
func toNode(path string, v reflect.Value, comments map[string]string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, LineComment: comments[path]}
	switch value := v.Interface().(type) {
	case time.Duration:
		n.Value = domain.FormatDuration(value)
	case fmt.Stringer:
		quote(n, value.String())
	case string:
		quote(n, value)
	case bool:
		n.Value = strconv.FormatBool(value)
	case int:
		n.Value = strconv.Itoa(value)
	case float64:
		n.Value = strconv.FormatFloat(value, 'g', -1, 64)
	case TemplateCode:
		if value.China == value.Overseas {
			quote(n, value.China)
			break
		}
		addMembers(n, path, v, comments)
	default:
		if v.Kind() == reflect.Struct {
			addMembers(n, path, v, comments)
			break
		}
		n.Kind = yaml.SequenceNode
		flow := true // as long as no entry takes more than one word
		for i := range v.Len() {
			n.Content = append(n.Content, toNode("", v.Index(i), nil))
			flow = flow && n.Content[i].Kind == yaml.ScalarNode
		}
		if flow {
			n.Style = yaml.FlowStyle
		}
	}
	return n
}

func addMembers(n *yaml.Node, path string, v reflect.Value, comments map[string]string) {
	n.Kind = yaml.MappingNode
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := memberName(field)
		if name == "-" || strings.HasSuffix(field.Tag.Get("yaml"), ",omitempty") && v.Field(i).IsZero() {
			continue
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, toNode(join(path, name), v.Field(i), comments))
	}
}

// quote writes a text so that it can't be mistaken for a number, a truth value or
// null.
func quote(n *yaml.Node, text string) {
	n.SetString(text)
	if text == "" {
		n.Style = yaml.DoubleQuotedStyle
	}
}
