"""What a DAG does to pipelines."""
