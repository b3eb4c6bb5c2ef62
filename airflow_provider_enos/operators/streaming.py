"""Operators on EnOS stream processing pipelines."""

from __future__ import annotations

from airflow_provider_enos.operators.pause import PausePipelineOperator
from airflow_provider_enos.operators.release import ReleasePipelineOperator
from airflow_provider_enos.operators.reset_offset import ResetPipelineOffsetOperator
from airflow_provider_enos.operators.start import StartPipelineOperator
from airflow_provider_enos.operators.stop import StopPipelineOperator

__all__ = [
    "PausePipelineOperator",
    "ReleasePipelineOperator",
    "ResetPipelineOffsetOperator",
    "StartPipelineOperator",
    "StopPipelineOperator",
]
