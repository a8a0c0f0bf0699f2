"""KnowledgeEditor: a hypernetwork reads a request and shapes its gradient, trained under a constraint."""
