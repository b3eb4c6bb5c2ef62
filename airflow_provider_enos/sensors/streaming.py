"""Sensors on EnOS stream processing pipelines."""

from __future__ import annotations

from airflow_provider_enos.sensors.lag import PipelineLagSensor
from airflow_provider_enos.sensors.status import PipelineStatusSensor

__all__ = ["PipelineLagSensor", "PipelineStatusSensor"]
