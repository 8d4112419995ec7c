package main

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// json prints a document as one line of relaxed Extended JSON.
func (p *program) json(doc any) error {
	line, err := bson.MarshalExtJSON(doc, false, false)
	if err != nil {
		return fmt.Errorf("write a document as Extended JSON: %w", err)
	}
	_, err = p.out.Write(append(line, '\n'))
	return err
}
