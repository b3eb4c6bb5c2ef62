"""Operators on EnOS stream processing pipelines."""

from __future__ import annotations

from airflow_provider_enos.operators.change import PausePipelineOperator, StopPipelineOperator
from airflow_provider_enos.operators.start import StartPipelineOperator

__all__ = ["PausePipelineOperator", "StartPipelineOperator", "StopPipelineOperator"]
